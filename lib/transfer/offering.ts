// The predecessor's side of moving live connections, for every protocol: OFFER, then HELD, then GO. From OFFER to GO
// nobody reads or writes: both hold the descriptor and neither uses it (guarantee G4).

import { HandoverError } from '../errors.js';
import { publish } from '../events.js';
import { closeFds, dupFd } from '../fd/index.js';
import { type Held, type Offer, type OfferedConnection, VERDICT } from '../protocol/batches.js';
import type { Detached, Movable } from '../protocols/protocol.js';

/** The frames, as the channel sends them. */
export interface OfferingChannel {
  offer(offer: Offer, fds: Int32Array): Promise<void>;
  go(batch: number): Promise<void>;
}

/** Well under what one message carries; small enough that the successor's loop is not held up. */
const BATCH_SIZE = 64;

/** State and unread bytes in one batch, a quarter of what a frame may carry; a single connection with more stays. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** Unacknowledged batches: descriptors in flight are limited to RLIMIT_NOFILE (FACTS K11). */
const WINDOW = 4;

/** Milliseconds after which a descriptor table that was full is tried again, where no HELD will make room. */
const FULL_TABLE_INTERVAL = 100;

/** The same for the successor's, where it does not say how much room it has. */
const NO_ROOM_INTERVAL = 1_000;

interface Batch {
  readonly movables: Movable[];
  readonly connections: OfferedConnection[];
  readonly fds: number[];
  bytes: number;
}

export class Offering {
  readonly #channel: OfferingChannel;
  readonly #candidates: () => Iterable<Movable>;
  readonly #outstanding = new Map<number, readonly Movable[]>();
  /** Candidates are asked anew for each sweep, and an offered or a refused connection still looks idle. */
  readonly #offered = new WeakSet<object>();
  readonly #onSettled: () => void;
  /** The sweep going on: looking for idle ones costs as much for one as for all, so one look serves many batches. */
  #sweep: Iterator<Movable> | undefined;
  /** Of another protocol than the batch it would have been in: the verdicts of one wait for nobody's app but its own. */
  #waiting: Movable | undefined;
  /** Connections the successor has descriptors for, beside those on offer; undefined: it does not say. */
  #room: number | undefined;
  /** Some stayed for want of it. */
  #isShortOfRoom = false;
  #hasToldOfRoom = false;
  #isSweepDue = false;
  #isScheduled = false;
  #batch = 0;
  #isEnded = false;
  /** Connections the successor has. */
  moved = 0;

  /** `candidates` are asked anew for each sweep; `onSettled` is called when nothing is outstanding and nothing can move. */
  constructor(channel: OfferingChannel, candidates: () => Iterable<Movable>, onSettled: () => void) {
    this.#channel = channel;
    this.#candidates = candidates;
    this.#onSettled = onSettled;
  }

  /** Offers what can move now, as far as the window goes. Call it from a macrotask. */
  sweep(): void {
    this.#isSweepDue = true;
    if (!this.#isEnded) this.#offerAll();
  }

  /** The same in a macrotask of its own, once however often it is asked for in this turn of the loop. */
  sweepSoon(): void {
    this.#isSweepDue = true;
    this.#schedule();
  }

  /** The successor has descriptors for so many connections, those on offer included. */
  roomIs(room: number): void {
    const offered = [...this.#outstanding.values()].reduce((sum, { length }) => sum + length, 0);
    this.#room = Math.max(0, room - offered);
    if (this.#room > 0 && this.#isShortOfRoom) this.#tryAgain();
  }

  /** The successor's verdicts. @throws ERR_HANDOVER_PROTOCOL they answer no batch of ours */
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
    // Its failure is the successor's death, which whoever reads the channel learns.
    this.#channel.go(batch).catch(() => {});
    this.#schedule();
  }

  /**
   * Takes back what was offered and not given. Only when the successor cannot park it any more: an ABORT is queued before
   * any GO would be, or it is dead.
   */
  takeBack(): void {
    this.#isEnded = true;
    for (const movables of this.#outstanding.values()) {
      for (const movable of movables) movable.resume({ forGood: false });
    }
    this.#outstanding.clear();
  }

  /** It is offered again when there is room: until then it is served here, and the end of the drain is told to it. */
  #onNoRoom(movable: Movable): void {
    movable.resume({ forGood: false });
    movable.stay();
    this.#offered.delete(movable.identity);
    if (this.#room === undefined && !this.#isShortOfRoom) setTimeout(() => this.#tryAgain(), NO_ROOM_INTERVAL).unref();
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
    if (!this.#isEnded) this.sweepSoon();
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
        // All of them pass by: none waits here for what may not come.
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

  /** False: the table is full, and those released by the next HELD make room. */
  #add(batch: Batch, movable: Movable, { fd, head, state }: Detached): boolean {
    const bytes = head.length + state.length;
    if (bytes > BATCH_BYTES) {
      this.#offered.add(movable.identity);
      movable.resume({ forGood: true });
      return true;
    }
    try {
      // Ours until it is sent: whatever happens to the connection meanwhile, this number stays what it is.
      batch.fds.push(dupFd(fd));
    } catch {
      movable.resume({ forGood: false });
      this.#isSweepDue = true;
      if (this.#outstanding.size === 0) setTimeout(() => this.sweepSoon(), FULL_TABLE_INTERVAL).unref();
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
