// The interface by which the handover controls a server or socket of the app, whatever its protocol.

import type { CutConnections } from '../events.js';
import type { Adopter, DrainOptions, Movable } from './protocol.js';

/** Where Node listens: on a descriptor, which Node then owns, or at an address. */
export interface Where {
  readonly fd?: number;
  readonly port?: number;
  readonly host?: string;
  readonly path?: string;
  readonly ipv6Only?: boolean;
}

/** A server or datagram socket of the app. Owns no descriptor of the ledger. */
export interface Managed {
  /** Begins to accept, or to receive. */
  accept(where: Where): Promise<void>;
  /** Stops accepting; connections stay, and the app gets no event. */
  suspend(): void;
  /**
   * As `suspend`, for a server that has emitted 'listening' and accepted nothing yet: if the app closes it meanwhile, it is
   * really closed. False: it does not listen any more.
   */
  holdBack(): boolean;
  /**
   * Undoes `suspend`: connections that waited in the queue are accepted. A server that the app has closed meanwhile is
   * closed now, or listens again with `reopen`.
   */
  resume(where: () => Where, options?: { readonly reopen: boolean }): Promise<void>;
  /** Ends every connection politely; resolves when the last has ended. */
  drain(options: DrainOptions): Promise<void>;
  /** During a drain, also ends the connections that were left to migrate. */
  stay(): void;
  /** Undoes `drain`: no further connection is ended. */
  endDrain(): void;
  /** Cuts the remaining connections, and returns their number. */
  cut(): number;
  /** The connections that were cut since the drain began. */
  readonly wasCut: readonly CutConnections[];
  /** Emits the withheld events to the app, because this process cannot take back any more. */
  finish(): void;
  /** Adopts connections of a predecessor; undefined where none can migrate here. */
  readonly adopter: Adopter | undefined;
  /** The connections that could migrate now. Call it in a macrotask. */
  movable(): Iterable<Movable>;
  /**
   * Calls back when another connection may have become movable: look for it in a macrotask. The returned function ends
   * that.
   */
  whenMovable(callback: () => void): () => void;
  /** Open connections. */
  readonly connectionCount: number;
}
