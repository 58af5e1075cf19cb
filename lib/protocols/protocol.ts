// The interface of a protocol: it recognises, migrates, drains and counts its connections of one server. Each protocol has
// one file, and no other part knows it by name; registry.ts lists them.
import type { Server, Socket } from 'node:net';
import type { CutConnections } from '../events.js';
import type { OfferedConnection } from '../protocol/batches.js';
import type { Connections } from './connections.js';
import type { Migration } from './migration.js';

/** What a protocol gets of its server. */
export interface Site {
  readonly server: Server;
  /** Name of the listener in the ledger. */
  readonly name: string;
  readonly connections: Connections;
  /** The app's own functions to migrate connections. */
  readonly migration: Migration | undefined;
}

/** Makes the protocol for one server; undefined if the server does not speak it. */
export type ProtocolAt = (site: Site) => Protocol | undefined;

export interface Protocol {
  /** Its name in events and logs. */
  readonly name: CutConnections['protocol'];
  /**
   * Whether this connection speaks the protocol now. The first protocol of the server that returns true has the connection.
   */
  recognise(socket: Socket): boolean;
  /** How its connections migrate; undefined: they stay, and drain. May be set later. */
  readonly migrate: Migrator | undefined;
  readonly drain: Drain;
  /** Whether the drain itself ends idle connections, so that the drain's idle timeout concerns busy ones only. */
  readonly endsIdle: boolean;
  /** The state of each of these connections, except those that this side has ended and that only linger. */
  count(sockets: readonly Socket[]): Counted[];
}

export interface Counted extends Pick<CutConnections, 'state'> {
  /** The socket to destroy to cut the connection. */
  readonly socket: Socket;
}

export interface DrainOptions {
  /** Whether connections migrate: those that can are not ended. */
  readonly moves: boolean;
  /** Milliseconds until `cut` will be called. @default 30000 */
  readonly timeout?: number;
  /** Milliseconds without a byte after which a busy connection is cut earlier; 0: never. @default 0 */
  readonly idleTimeout?: number;
  /** Milliseconds over which WebSockets that cannot migrate are closed with 1012. */
  readonly spread?: number;
}

/** Ends the connections of one server politely. */
export interface Drain {
  /** Ends every connection; with `moves` not those that can migrate. */
  begin(options: Required<DrainOptions>): void;
  /** Also ends the connections that were left to migrate, because none migrates any more. */
  stay(): void;
  /** Ends no further connections. */
  stop(): void;
  /** Ends the connections that Node's `close()` would end: the app has closed the server, and nothing migrates. */
  closeIdle?(): void;
}

/** For a protocol that has no polite end. */
export const NO_DRAIN: Drain = { begin() {}, stay() {}, stop() {} };

/** A connection that could migrate now. Ask for it in a macrotask. */
export interface Movable {
  readonly listener: string;
  readonly protocol: string;
  /** The connection itself: it is offered only once in a handover. */
  readonly identity: object;
  /**
   * Stops reading and writing. The connection still owns the descriptor. Undefined: the connection is busy again, or cannot
   * be stopped, and is unchanged.
   */
  detach(): Detached | undefined;
  /** Closes this process' copy without a FIN, because the successor owns the connection. */
  release(): void;
  /**
   * Called for a connection that is not detached, when the successor has no room for it. It is served here, and may be
   * offered when there is room.
   */
  stay(): void;
  /** Reads on, because the connection stays here. `forGood`: it then drains, because the successor refused it. */
  resume(options: { readonly forGood: boolean }): void;
}

export interface Detached {
  readonly fd: number;
  /** Bytes that were read and not consumed. */
  readonly head: Uint8Array;
  /** State that the protocol of the successor needs. */
  readonly state: Uint8Array;
}

/** An offered connection that this process can adopt. It is neither read nor written until one of these is called. */
export interface HeldConnection {
  /** Adopts the connection: it is this process' own. */
  go(): void;
  /** Closes this process' copy without a FIN, because the connection stays the predecessor's. */
  abort(): void;
}

/** Undefined: the connection is refused, and its descriptor closed. */
export type Hold = HeldConnection | undefined;

/**
 * Migrates the connections of one server. transfer/offering.ts and transfer/holding.ts drive the migrators of all
 * protocols.
 */
export interface Migrator {
  /** Name of the protocol on the wire. */
  readonly protocol: string;
  /** Whether connections of this server can migrate at all, as the server is now. */
  readonly canMove: boolean;
  /** Checks an offered connection, and owns its descriptor. A protocol that must ask the app first returns a promise. */
  hold(fd: number, connection: OfferedConnection): Hold | Promise<Hold>;
  /** The connections that could migrate now. Call it in a macrotask. `detach` checks each again when its turn comes. */
  movable(): Iterable<Movable>;
  /**
   * Calls back when another connection may have become movable: look for it in a macrotask. The returned function ends
   * that.
   */
  whenMovable(callback: () => void): () => void;
}

/** Finds the migrator of a listener by the name of the protocol; undefined if the listener does not speak it. */
export type Adopter = (protocol: string) => Migrator | undefined;
