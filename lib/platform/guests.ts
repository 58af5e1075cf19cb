// The guests of a socket of this process: clients that have connected to it. Each costs a descriptor, so their number and their
// idle time are limited. Otherwise a thousand idle clients of a control socket would keep the server from accepting.

export interface GuestRules<T> {
  /** The most guests at a time. Another one takes the place of the guest that has been idle longest. */
  readonly limit: number;
  /** Milliseconds that a guest may be idle. */
  readonly timeout: number;
  /** Ends the guest's connection. The guest is removed already. */
  readonly hangUp: (guest: T) => void;
}

export class Guests<T extends object> {
  readonly #rules: GuestRules<T>;
  /** The guests in the order in which they became idle. A busy guest has no timer. */
  readonly #timers = new Map<T, NodeJS.Timeout | undefined>();

  constructor(rules: GuestRules<T>) {
    this.#rules = rules;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    yield* this.#timers.keys();
  }

  /** Adds an idle guest. False: busy guests take all places, and the connection of this guest was ended. */
  admit(guest: T): boolean {
    if (this.#timers.size >= this.#rules.limit && !this.#makeRoom()) {
      this.#rules.hangUp(guest);
      return false;
    }
    this.idle(guest);
    return true;
  }

  /** This process works for the guest from now on: it has no limit of time meanwhile. */
  busy(guest: T): void {
    if (!this.leave(guest)) return;
    this.#timers.set(guest, undefined);
  }

  /** The guest is idle from now on. */
  idle(guest: T): void {
    this.leave(guest);
    const timer = setTimeout(() => this.#end(guest), this.#rules.timeout).unref();
    this.#timers.set(guest, timer);
  }

  /** Removes a guest. False: it was removed before. */
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
