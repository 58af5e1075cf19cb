// What the handover does with a server or socket of the app, whatever its protocol.

import type { CutConnections } from '../events.js';
import type { Adopter, DrainOptions, Movable } from './protocol.js';

/** Where Node shall listen: on a descriptor that becomes Node's, or plainly at an address. */
export interface Where {
  readonly fd?: number;
  readonly port?: number;
  readonly host?: string;
  readonly path?: string;
  readonly ipv6Only?: boolean;
}

/** A server or datagram socket the app gave us. It owns no descriptor of the ledger. */
export interface Managed {
  /** Accepts, or receives. */
  accept(where: Where): Promise<void>;
  /** Stops accepting; connections stay, and the app is not told. */
  suspend(): void;
  /**
   * As `suspend`, for one that has said that it listens and has accepted nothing yet: closed by the app meanwhile, it is
   * closed. False: it does not listen any more.
   */
  holdBack(): boolean;
  /**
   * Undoes `suspend`: what waited in the queue is served. One that the app has closed meanwhile is closed then, or with
   * `reopen` listens again.
   */
  resume(where: () => Where, options?: { readonly reopen: boolean }): Promise<void>;
  /** Asks every connection to end politely; resolves when the last has. */
  drain(options: DrainOptions): Promise<void>;
  /** While draining: those left alone because they would move are asked as well. */
  stay(): void;
  /** Undoes `drain`: connections are asked to end no more. */
  endDrain(): void;
  /** Ends what is left and says how many connections that were. */
  cut(): number;
  /** What was cut since the drain began. */
  readonly wasCut: readonly CutConnections[];
  /** The handover is over for good: the app hears the events that were withheld. */
  finish(): void;
  /** Goes on with connections of a predecessor; undefined where none can move here. */
  readonly adopter: Adopter | undefined;
  /** Those that could move now; asked for in a macrotask. */
  movable(): Iterable<Movable>;
  /** Calls back when another may have become movable, to be looked for in a macrotask. The function returned ends that. */
  whenMovable(callback: () => void): () => void;
  /** Open connections. */
  readonly connectionCount: number;
}
