// Which processes have a descriptor of each connection, line by line of the log: the one that accepted it, until it says
// that it closed it, and whoever received a copy.  A line is written before the process goes on, and all share one pipe: the
// order of the lines is the order of things.
import type { Said } from './log.js';

/** Faults after which a process says nothing more, not even that it ends. */
const SILENT = ['kill'];

interface Fields {
  readonly key?: string;
  readonly keys?: string[];
  readonly id?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly direction?: string;
  readonly role?: string;
  readonly isGiven?: boolean;
  readonly batch?: number;
  readonly connections?: number;
}

interface Batch {
  readonly number: number;
  readonly keys: string[];
}

export class Owners {
  readonly #owners = new Map<string, Set<number>>();
  readonly #diedWith = new Map<string, number>();
  /** Received, and of no OFFER yet: as they came, by process. */
  readonly #received = new Map<number, string[][]>();
  /** Offered, and not answered by HELD yet: batch by batch, by process. */
  readonly #offered = new Map<number, Batch[]>();
  /** Held, and not given yet: by process and batch, where all of the batch was held. */
  readonly #held = new Map<string, string[]>();
  /** By whom HELD was said. */
  readonly #heldBy = new Map<string, number>();
  /** Sent or received ABORT: what still comes it closes. */
  readonly #hasGivenUp = new Set<number>();
  readonly #isGone: (pid: number) => boolean;
  /**
   * Requests begun by one process on a connection that another one, which lives, had a copy of; connections given before
   * they were held.
   */
  readonly shared: string[] = [];

  constructor(isGone: (pid: number) => boolean) {
    this.#isGone = isGone;
  }

  note({ pid, event, ...said }: Said): void {
    const { key, keys = [], id, kind, name, direction, role, isGiven, batch, connections } = said as Fields;
    if (event === 'accept' && key !== undefined) this.#of(key).add(pid);
    if (event === 'holds' && !this.#hasGivenUp.has(pid)) {
      for (const held of keys) this.#of(held).add(pid);
      this.#received.set(pid, [...(this.#received.get(pid) ?? []), keys]);
    }
    // With three generations one process is the receiver of the first channel and the giver of the second.
    const isReceiver = event === 'frame' && role !== 'predecessor';
    if (isReceiver && name === 'OFFER' && batch !== undefined) {
      this.#offeredTo(pid).push({ number: batch, keys: this.#take(pid, connections ?? 0) });
    }
    if (isReceiver && name === 'HELD' && direction === 'sent') {
      const offered = this.#answered(pid, batch);
      for (const held of offered) this.#heldBy.set(held, pid);
      if (offered.length === connections) this.#held.set(`${pid} ${batch}`, offered);
    }
    if (isReceiver && name === 'GO' && direction === 'received') this.#given(pid, `${pid} ${batch}`);
    if (event === 'closed' && key !== undefined) this.#closed(key, pid, isGiven === true);
    if (event === 'begin' && key !== undefined) this.#begin(key, pid, id);
    if (event === 'exit' || (event === 'fault' && SILENT.includes(kind ?? ''))) this.#died(pid);
    if (isReceiver && name === 'ABORT') this.#drop(pid, direction === 'sent');
  }

  /** The process that alone had it, and has died. */
  diedWith(key: string): number | undefined {
    for (const pid of this.#of(key)) if (this.#isGone(pid)) this.#died(pid);
    return this.#diedWith.get(key);
  }

  /** Whether that process has said HELD for it, and it has not been closed here since. */
  hasHeld(key: string, pid: number): boolean {
    return this.#heldBy.get(key) === pid;
  }

  #of(key: string): Set<number> {
    const owners = this.#owners.get(key) ?? new Set<number>();
    this.#owners.set(key, owners);
    return owners;
  }

  /** The descriptors of an OFFER are the last that came; what came before them was something else. */
  #take(pid: number, count: number): string[] {
    const received = this.#received.get(pid) ?? [];
    let first = received.length;
    for (let left = count; left > 0 && first > 0; ) left -= received[--first]?.length ?? 0;
    const keys = received.slice(first).flat();
    this.#received.set(pid, [keys.slice(count)]);
    return keys.slice(0, count);
  }

  #answered(pid: number, batch: number | undefined): string[] {
    const offered = this.#offeredTo(pid);
    const index = offered.findIndex(({ number }) => number === batch);
    return index < 0 ? [] : (offered.splice(index, 1)[0]?.keys ?? []);
  }

  #offeredTo(pid: number): Batch[] {
    const batches = this.#offered.get(pid) ?? [];
    this.#offered.set(pid, batches);
    return batches;
  }

  /** From here on they are its alone: one that was parked in the giver was never a connection there, and none is closed. */
  #given(pid: number, batch: string): void {
    for (const key of this.#held.get(batch) ?? []) {
      const owners = this.#of(key);
      for (const other of [...owners]) if (other !== pid) owners.delete(other);
    }
    this.#held.delete(batch);
  }

  #closed(key: string, pid: number, isGiven: boolean): void {
    const owners = this.#of(key);
    owners.delete(pid);
    if (!isGiven) return;
    const heir = this.#heldBy.get(key);
    if (heir === undefined && owners.size > 0) {
      this.shared.push(`socket ${key}: given by ${pid} before anybody held it`);
    }
    // It had died, and its HELD was still to be read.
    if (heir !== undefined && owners.size === 0) this.#diedWith.set(key, heir);
  }

  #begin(key: string, pid: number, id: string | undefined): void {
    const owners = this.#of(key);
    if (!owners.has(pid)) this.shared.push(`${id}: begun by ${pid}, which had its connection no more`);
    for (const other of owners) {
      if (other === pid) continue;
      if (this.#isGone(other)) this.#died(other);
      else this.shared.push(`${id}: begun by ${pid} while ${other} had its connection, too`);
    }
  }

  #died(pid: number): void {
    for (const [key, owners] of this.#owners) {
      if (owners.delete(pid) && owners.size === 0) this.#diedWith.set(key, pid);
    }
  }

  /**
   * Whoever gives up closes what it was not given, at once and without a word of its own; all but what it has said HELD for,
   * where it is its own decision.
   */
  #drop(pid: number, isOwn: boolean): void {
    this.#hasGivenUp.add(pid);
    for (const [key, owners] of this.#owners) {
      const [first] = owners;
      // The first is the one that offered it.
      if (owners.size > 1 && first !== pid && !(isOwn && this.#heldBy.get(key) === pid)) owners.delete(pid);
    }
  }
}
