// What a protocol is to the server that speaks it: it recognises, migrates, drains and counts its connections. One file a
// protocol, which alone knows it; registry.ts lists them.
import type { Server, Socket } from 'node:net';
import type { CutConnections } from '../events.js';
import type { OfferedConnection } from '../protocol/batches.js';
import type { Connections } from './connections.js';
import type { Migration } from './migration.js';

/** What a protocol gets of the server it works for. */
export interface Site {
  readonly server: Server;
  /** The listener's, as the ledger has it. */
  readonly name: string;
  readonly connections: Connections;
  /** What the app knows of its connections. */
  readonly migration: Migration | undefined;
}

/** A protocol at a server; undefined: the server does not speak it. */
export type ProtocolAt = (site: Site) => Protocol | undefined;

export interface Protocol {
  /** Its name in events and logs. */
  readonly name: CutConnections['protocol'];
  /** Whether this connection speaks it now. Of the protocols of a server the first that says so has it. */
  recognise(socket: Socket): boolean;
  /** How its connections migrate; undefined: they stay, and drain. It may be there only later. */
  readonly migrate: Migrator | undefined;
  readonly drain: Drain;
  /** Its idle connections end politely by themselves while it drains: the drain's idle timeout is for the busy ones. */
  readonly endsIdle: boolean;
  /** Of open connections it has: each, but those that have ended for their client and only linger. */
  count(sockets: readonly Socket[]): Counted[];
}

export interface Counted extends Pick<CutConnections, 'state'> {
  /** What ends it when it is destroyed. */
  readonly socket: Socket;
}

export interface DrainOptions {
  /** Those that can migrate are left alone, because they will. */
  readonly moves: boolean;
  /** Milliseconds until `cut` will be called. @default 30000 */
  readonly timeout?: number;
  /** Milliseconds without a byte after which a busy connection is cut before that; 0: none. @default 0 */
  readonly idleTimeout?: number;
  /** Milliseconds over which WebSockets that cannot migrate are closed with 1012. */
  readonly spread?: number;
}

/** The polite end of the connections of one server. */
export interface Drain {
  /** Asks every connection to end, but for those that can migrate where the server `moves`. */
  begin(options: Required<DrainOptions>): void;
  /** Those that were left alone because they could migrate, and now never will, are asked as well. */
  stay(): void;
  /** Connections are asked to end no more. */
  stop(): void;
  /** The app has closed the server, and nothing migrates: ends what Node's `close()` would end. */
  closeIdle?(): void;
}

/** Where nothing polite can be said. */
export const NO_DRAIN: Drain = { begin() {}, stay() {}, stop() {} };

/** A connection that could move now. Asked for from a macrotask. */
export interface Movable {
  readonly listener: string;
  readonly protocol: string;
  /** The connection itself: offered once in a handover, whatever becomes of it. */
  readonly identity: object;
  /**
   * Stops reading and writing. The descriptor stays the connection's. Undefined: it is busy again, or cannot be stopped
   * after all, and stays as it is.
   */
  detach(): Detached | undefined;
  /** It is the successor's: this process' copy goes, without a FIN. */
  release(): void;
  /**
   * Of one that is not detached: there is no room for it in the successor. It is served here meanwhile, and may be offered
   * when there is.
   */
  stay(): void;
  /** It stays here: reads on as if nothing had happened. `forGood`: and ends politely, because the successor refused it. */
  resume(options: { readonly forGood: boolean }): void;
}

export interface Detached {
  readonly fd: number;
  /** Bytes that were read and not consumed. */
  readonly head: Uint8Array;
  /** What the protocol exported. */
  readonly state: Uint8Array;
}

/** A connection on offer that this process can go on with; until one of the two is called it is not touched. */
export interface HeldConnection {
  /** It is ours. */
  go(): void;
  /** It stays the predecessor's: this process' copy goes, without a FIN. */
  abort(): void;
}

/** Undefined: refused, and the descriptor closed. */
export type Hold = HeldConnection | undefined;

/** How the connections of one server migrate. One machine (offering.ts and holding.ts) asks all of them. */
export interface Migrator {
  /** Its name on the wire. */
  readonly protocol: string;
  /** Whether connections of this server migrate by it at all, as the server is now. */
  readonly canMove: boolean;
  /** Looks at an offered connection and takes its descriptor; a protocol that must ask the app first answers later. */
  hold(fd: number, connection: OfferedConnection): Hold | Promise<Hold>;
  /** Those that could migrate now; asked for in a macrotask. Some may not any more when their turn comes: see `detach`. */
  movable(): Iterable<Movable>;
  /** Calls back when another may have become movable, to be looked for in a macrotask. The function returned ends that. */
  whenMovable(callback: () => void): () => void;
}

/** Where connections of one listener go, by protocol; undefined for one it does not speak. */
export type Adopter = (protocol: string) => Migrator | undefined;
