// Time that a test moves by hand. What a timer leads to, over real sockets too, happens before the next one is due.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../lib/protocol/clock.js';

interface Timer {
  at: number;
  readonly every: number | undefined;
  readonly callback: () => void;
}

/** Turns of the loop in which everything comes to rest: a frame needs one, its answer another. */
const TURNS_TO_REST = 12;
/** A condition that has not come about by then never will. */
const MOST_TURNS = 2_000;

export class VirtualClock implements Clock {
  readonly #timers = new Set<Timer>();
  #now = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    return this.#add({ at: this.#now + ms, every: undefined, callback });
  }

  every(ms: number, callback: () => void): () => void {
    return this.#add({ at: this.#now + ms, every: ms, callback });
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await rest();
    for (let timer = this.#next(end); timer; timer = this.#next(end)) {
      this.#now = timer.at;
      if (timer.every === undefined) this.#timers.delete(timer);
      else timer.at += timer.every;
      timer.callback();
      await rest();
    }
    this.#now = end;
  }

  /** Moves on in steps of 10 ms until `look` finds something: for what takes a time that is nobody's business. */
  async until<T>(look: () => T | undefined | false, what: string, limit = 60_000): Promise<T> {
    for (let waited = 0; ; waited += 10) {
      const found = look();
      if (found !== undefined && found !== false) return found;
      if (waited >= limit) throw new Error(`${what} has not come about within ${limit} virtual ms`);
      await this.advance(10);
    }
  }

  #add(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** The first that is due by then; of those due at the same time the one that was set first. */
  #next(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (timer.at <= end && (!next || timer.at < next.at)) next = timer;
    return next;
  }
}

/** Lets happen what can happen without time. */
export async function rest(): Promise<void> {
  for (let turn = 0; turn < TURNS_TO_REST; turn++) await nextTurn();
}

/** Waits for what needs no time. */
export async function soon<T>(look: () => T | undefined | false, what: string): Promise<T> {
  for (let turn = 0; turn < MOST_TURNS; turn++) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await nextTurn();
  }
  throw new Error(`${what} has not come about, and time stands still`);
}
