// Those who have dialled a socket of this process. Each costs it a descriptor, and some never say anything: so many at a
// time, and each so long without a word. Otherwise a thousand idle clients of a control socket would end the server's accepting.

export interface GuestRules<T> {
  /** How many at a time. One more takes the place of whoever has been idle longest. */
  readonly limit: number;
  /** Milliseconds one may be idle. */
  readonly timeout: number;
  /** Ends the guest's connection. It has left already. */
  readonly hangUp: (guest: T) => void;
}

export class Guests<T extends object> {
  readonly #rules: GuestRules<T>;
  /** In the order in which they fell idle; a busy one has no timer. */
  readonly #timers = new Map<T, NodeJS.Timeout | undefined>();

  constructor(rules: GuestRules<T>) {
    this.#rules = rules;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    yield* this.#timers.keys();
  }

  /** Idle from now on. False: all places are taken by busy ones, and this guest has been hung up on. */
  admit(guest: T): boolean {
    if (this.#timers.size >= this.#rules.limit && !this.#makeRoom()) {
      this.#rules.hangUp(guest);
      return false;
    }
    this.idle(guest);
    return true;
  }

  /** Something is being done for the guest: it may take as long as it takes. */
  busy(guest: T): void {
    if (!this.leave(guest)) return;
    this.#timers.set(guest, undefined);
  }

  idle(guest: T): void {
    this.leave(guest);
    const timer = setTimeout(() => this.#end(guest), this.#rules.timeout).unref();
    this.#timers.set(guest, timer);
  }

  /** False: it was no guest any more. */
  leave(guest: T): boolean {
    clearTimeout(this.#timers.get(guest));
    return this.#timers.delete(guest);
  }

  #makeRoom(): boolean {
    for (const [guest, timer] of this.#timers) {
      if (timer === undefined) continue;
      this.#end(guest);
      return true;
    }
    return false;
  }

  #end(guest: T): void {
    this.leave(guest);
    this.#rules.hangUp(guest);
  }
}
