// What a protocol must know to let its connections move. One implementation a protocol; one machine (offering.ts and
// holding.ts) for all of them.
import type { OfferedConnection } from '../protocol/batches.js';

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

export interface LiveProtocol {
  /** Its name on the wire. */
  readonly protocol: string;
  /** Whether connections of this server move by it at all, as the server is now. */
  readonly canMove: boolean;
  /** Looks at an offered connection and takes its descriptor; a protocol that must ask the app first answers later. */
  hold(fd: number, connection: OfferedConnection): Hold | Promise<Hold>;
  /** Those that could move now; asked for in a macrotask. Some may not any more when their turn comes: see `detach`. */
  movable(): Iterable<Movable>;
  /** Calls back when another may have become movable, to be looked for in a macrotask. The function returned ends that. */
  whenMovable(callback: () => void): () => void;
  /** Those that are here and could move, but now never will, are asked to end. */
  stay(): void;
}

/** Where connections of one listener go, by protocol; undefined for one it does not speak. */
export type Adopter = (protocol: string) => LiveProtocol | undefined;
