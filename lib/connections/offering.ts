// The predecessor's side of moving live connections, for every protocol: OFFER, then HELD, then GO. From OFFER to GO
// nobody reads or writes: both hold the descriptor and neither uses it (guarantee G4).

import { type Held, type Offer, VERDICT } from '../channel/batches.js';
import { closeFds, dupFd } from '../fd/index.js';

/** A connection that could move now. Asked for from a macrotask, and offered in the same one. */
export interface Movable {
  readonly listener: string;
  readonly protocol: string;
  /** The connection itself: offered once in a handover, whatever becomes of it. */
  readonly identity: object;
  /** Stops reading. The descriptor stays the connection's. Undefined: it cannot be stopped after all, and stays. */
  detach(): { readonly fd: number; readonly head: Uint8Array; readonly state: Uint8Array } | undefined;
  /** It is the successor's: this process' copy goes, without a FIN. */
  release(): void;
  /** It stays: reads on as if nothing had happened. */
  resume(): void;
}

/** The frames, as the channel sends them. */
export interface OfferingChannel {
  offer(offer: Offer, fds: Int32Array): Promise<void>;
  go(batch: number): Promise<void>;
}

/** Well under what one message carries; small enough that the successor's loop is not held up. */
const BATCH_SIZE = 64;

/** Unacknowledged batches: descriptors in flight are limited to RLIMIT_NOFILE (FACTS K11). */
const WINDOW = 4;

export class Offering {
  readonly #channel: OfferingChannel;
  readonly #candidates: () => Iterable<Movable>;
  readonly #outstanding = new Map<number, readonly Movable[]>();
  /** Candidates are asked anew for each sweep, and an offered or a refused connection still looks idle. */
  readonly #offered = new WeakSet<object>();
  readonly #onSettled: () => void;
  #batch = 0;
  #isEnded = false;
  /** Connections the successor has. */
  moved = 0;

  /** `candidates` are asked anew for each batch; `onSettled` is called when nothing is outstanding and nothing can move. */
  constructor(channel: OfferingChannel, candidates: () => Iterable<Movable>, onSettled: () => void) {
    this.#channel = channel;
    this.#candidates = candidates;
    this.#onSettled = onSettled;
  }

  /** Offers what can move now, as far as the window goes. Call it from a macrotask. */
  sweep(): void {
    if (this.#isEnded) return;
    const candidates = this.#candidates()[Symbol.iterator]();
    while (this.#outstanding.size < WINDOW && this.#offer(candidates));
    if (this.#outstanding.size === 0) this.#onSettled();
  }

  /** The successor's verdicts. @throws Error they answer no batch of ours */
  onHeld({ batch, verdicts }: Held): void {
    const movables = this.#outstanding.get(batch);
    if (movables?.length !== verdicts.length) throw new Error(`HELD of ${verdicts.length} answers no batch ${batch}`);
    this.#outstanding.delete(batch);
    for (const [i, movable] of movables.entries()) {
      if (verdicts[i] === VERDICT.held) {
        movable.release();
        this.moved += 1;
      } else movable.resume();
    }
    // Its failure is the successor's death, which whoever reads the channel learns.
    this.#channel.go(batch).catch(() => {});
    setImmediate(() => this.sweep());
  }

  /**
   * Takes back what was offered and not given. Only when the successor cannot park it any more: an ABORT is queued before
   * any GO would be, or it is dead.
   */
  takeBack(): void {
    this.#isEnded = true;
    for (const movables of this.#outstanding.values()) for (const movable of movables) movable.resume();
    this.#outstanding.clear();
  }

  /** One batch; false where there is nothing to offer. */
  #offer(candidates: Iterator<Movable>): boolean {
    const movables: Movable[] = [];
    const connections: Offer['connections'][number][] = [];
    const fds: number[] = [];
    for (let next = candidates.next(); !next.done; next = candidates.next()) {
      const { listener, protocol, identity } = next.value;
      if (this.#offered.has(identity)) continue;
      const detached = next.value.detach();
      if (!detached) continue;
      const { fd, head, state } = detached;
      try {
        // Ours until it is sent: whatever happens to the connection meanwhile, this number stays what it is.
        fds.push(dupFd(fd));
      } catch {
        // The table is full: those released by the next HELD make room.
        next.value.resume();
        break;
      }
      this.#offered.add(identity);
      movables.push(next.value);
      connections.push({ listener, protocol, head, state });
      if (movables.length === BATCH_SIZE) break;
    }
    if (movables.length === 0) return false;
    const batch = ++this.#batch;
    this.#outstanding.set(batch, movables);
    this.#channel
      .offer({ batch, connections }, Int32Array.from(fds))
      .catch(() => {})
      .finally(() => closeFds(fds));
    return true;
  }
}
