// The predecessor's side of migrating live connections, for every protocol: OFFER, then HELD, then GO. From OFFER to GO both
// processes hold the descriptor, and neither reads or writes (guarantee G4).

import { HandoverError } from '../errors.js';
import { publish } from '../events.js';
import { closeFds, dupFd } from '../fd/index.js';
import { type Held, type Offer, type OfferedConnection, VERDICT } from '../protocol/batches.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import type { Detached, Movable } from '../protocols/protocol.js';

/** Sends the frames. */
export interface OfferingChannel {
  offer(offer: Offer, fds: Int32Array): Promise<void>;
  go(batch: number): Promise<void>;
}

/** Well under the limit of one message; small enough that a batch does not hold up the successor's loop. */
const BATCH_SIZE = 64;

/** Limit on state and unread bytes in one batch, a quarter of a frame's limit; a single connection with more stays. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** Unacknowledged batches: descriptors in flight are limited to RLIMIT_NOFILE (FACTS K11). */
const WINDOW = 4;

/** Milliseconds until the next attempt after this process' descriptor table was full, where no HELD will make room. */
const FULL_TABLE_INTERVAL = 100;

/** The same for the successor's table, where the successor does not report its room. */
const NO_ROOM_INTERVAL = 1_000;

interface Batch {
  readonly movables: Movable[];
  readonly connections: OfferedConnection[];
  readonly fds: number[];
  bytes: number;
}

export class Offering {
  readonly #channel: OfferingChannel;
  readonly #clock: Clock;
  readonly #candidates: () => Iterable<Movable>;
  readonly #outstanding = new Map<number, readonly Movable[]>();
  /** Connections offered or refused: they still look idle to the next sweep. */
  readonly #offered = new WeakSet<object>();
  readonly #onSettled: () => void;
  /** The sweep under way. Finding one idle connection costs as much as finding all, so one sweep serves many batches. */
  #sweep: Iterator<Movable> | undefined;
  /** A connection kept for the next batch, because verdicts on one protocol must not wait for the app's code of another. */
  #waiting: Movable | undefined;
  /** Connections the successor has descriptors for, beside those on offer; undefined: it does not report them. */
  #room: number | undefined;
  /** Connections stayed because the successor had no room. */
  #isShortOfRoom = false;
  #hasToldOfRoom = false;
  #isSweepDue = false;
  #isScheduled = false;
  #batch = 0;
  #isEnded = false;
  /** Connections the successor has. */
  moved = 0;

  /** Calls `candidates` for each sweep, and `onSettled` when no batch is outstanding and no connection can migrate. */
  constructor(
    channel: OfferingChannel,
    candidates: () => Iterable<Movable>,
    onSettled: () => void,
    clock: Clock = systemClock,
  ) {
    this.#channel = channel;
    this.#clock = clock;
    this.#candidates = candidates;
    this.#onSettled = onSettled;
  }

  /** Whether an offer waits for its answer. */
  get isOutstanding(): boolean {
    return this.#outstanding.size > 0;
  }

  /** Offers the connections that can migrate now, as far as the window allows. Call it from a macrotask. */
  sweep(): void {
    this.#isSweepDue = true;
    if (!this.#isEnded) this.#offerAll();
  }

  /** Sweeps in a macrotask of its own; several calls in one turn of the loop make one sweep. */
  sweepSoon(): void {
    this.#isSweepDue = true;
    this.#schedule();
  }

  /** The successor has reported how many connections it has descriptors for, those on offer included. */
  roomIs(room: number): void {
    const offered = [...this.#outstanding.values()].reduce((sum, { length }) => sum + length, 0);
    this.#room = Math.max(0, room - offered);
    if (this.#room > 0 && this.#isShortOfRoom) this.#tryAgain();
  }

  /** Takes the successor's verdicts. @throws ERR_HANDOVER_PROTOCOL they answer no batch of this process */
  onHeld({ batch, verdicts }: Held): void {
    const movables = this.#outstanding.get(batch);
    if (movables?.length !== verdicts.length) {
      const message = `HELD of ${verdicts.length} answers no batch ${batch} of as many`;
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', message, { stillServing: true });
    }
    this.#outstanding.delete(batch);
    for (const [i, movable] of movables.entries()) {
      if (verdicts[i] === VERDICT.held) {
        movable.release();
        this.moved += 1;
      } else if (verdicts[i] === VERDICT.noRoom) this.#onNoRoom(movable);
      else movable.resume({ forGood: true });
    }
    // It fails only when the successor is dead, which the reader of the channel learns.
    this.#channel.go(batch).catch(() => {});
    this.#schedule();
  }

  /**
   * Takes the outstanding batches back. Only when the successor cannot adopt them any more: an ABORT is queued before any GO,
   * or the successor is dead.
   */
  takeBack(): void {
    this.#isEnded = true;
    for (const movables of this.#outstanding.values()) {
      for (const movable of movables) movable.resume({ forGood: false });
    }
    this.#outstanding.clear();
  }

  /** Keeps a connection until the successor has room: this process serves it, and asks its client to end for the drain. */
  #onNoRoom(movable: Movable): void {
    movable.resume({ forGood: false });
    movable.stay();
    this.#offered.delete(movable.identity);
    if (this.#room === undefined && !this.#isShortOfRoom) {
      this.#clock.after(NO_ROOM_INTERVAL, () => this.#tryAgain(), { isUnref: true });
    }
    if (this.#room !== undefined) this.#room = 0;
    this.#fallShort();
  }

  #fallShort(): void {
    this.#isShortOfRoom = true;
    if (this.#hasToldOfRoom) return;
    this.#hasToldOfRoom = true;
    const message =
      'the successor has no descriptors for more connections: the others stay here until it has, and drain';
    publish('hook-failed', {
      name: 'migrate',
      error: new HandoverError('ERR_HANDOVER_DESCRIPTORS', message, { stillServing: true }),
    });
  }

  #tryAgain(): void {
    this.#isShortOfRoom = false;
    this.sweepSoon();
  }

  /** Only in a macrotask is it certain which connections are idle (FACTS C3). */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (!this.#isEnded) this.#offerAll();
    });
  }

  #offerAll(): void {
    while (this.#outstanding.size < WINDOW) {
      const batch = this.#collect();
      if (batch.movables.length === 0) break;
      this.#offer(batch);
    }
    if (this.#outstanding.size === 0) this.#onSettled();
  }

  #collect(): Batch {
    const batch: Batch = { movables: [], connections: [], fds: [], bytes: 0 };
    while (batch.movables.length < BATCH_SIZE && batch.bytes < BATCH_BYTES) {
      const movable = this.#waiting ?? this.#next();
      this.#waiting = undefined;
      if (!movable) break;
      if (this.#offered.has(movable.identity)) continue;
      if (movable.protocol !== (batch.movables[0]?.protocol ?? movable.protocol)) {
        this.#waiting = movable;
        break;
      }
      if (this.#isFull(batch)) {
        // Every candidate is told to stay: the successor may never have room.
        movable.stay();
        this.#fallShort();
        continue;
      }
      const detached = movable.detach();
      if (detached && !this.#add(batch, movable, detached)) break;
    }
    return batch;
  }

  #next(): Movable | undefined {
    while (this.#sweep || this.#isSweepDue) {
      if (!this.#sweep) {
        this.#isSweepDue = false;
        this.#sweep = this.#candidates()[Symbol.iterator]();
      }
      const next = this.#sweep.next();
      if (!next.done) return next.value;
      this.#sweep = undefined;
    }
    return undefined;
  }

  #isFull({ movables }: Batch): boolean {
    if (this.#room === undefined) return this.#isShortOfRoom;
    return movables.length >= this.#room;
  }

  /** False: this process' table is full; the next HELD makes room. */
  #add(batch: Batch, movable: Movable, { fd, head, state }: Detached): boolean {
    const bytes = head.length + state.length;
    if (bytes > BATCH_BYTES) {
      this.#offered.add(movable.identity);
      movable.resume({ forGood: true });
      return true;
    }
    try {
      // A duplicate of our own: the number stays valid until it is sent, whatever happens to the connection.
      batch.fds.push(dupFd(fd));
    } catch {
      movable.resume({ forGood: false });
      this.#isSweepDue = true;
      if (this.#outstanding.size === 0) {
        this.#clock.after(FULL_TABLE_INTERVAL, () => this.sweepSoon(), { isUnref: true });
      }
      return false;
    }
    this.#offered.add(movable.identity);
    batch.movables.push(movable);
    batch.connections.push({ listener: movable.listener, protocol: movable.protocol, head, state });
    batch.bytes += bytes;
    return true;
  }

  #offer({ movables, connections, fds }: Batch): void {
    const batch = ++this.#batch;
    this.#outstanding.set(batch, movables);
    if (this.#room !== undefined) this.#room = Math.max(0, this.#room - movables.length);
    this.#channel
      .offer({ batch, connections }, Int32Array.from(fds))
      .catch(() => {})
      .finally(() => closeFds(fds));
  }
}
