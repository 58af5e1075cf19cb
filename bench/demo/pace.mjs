// When a client of the demo makes its next request: some time later, and at once where a round asks everybody.

/** @typedef {import('../../dist/hammer/pace.js').Pace} Pace */

/** @implements {Pace} */
export class Pace {
  #clock;
  #think;
  #round = 0;
  /** Clients by their start: the round in which their latest request began. @type {Map<() => void, number>} */
  #begunIn = new Map();
  /** Those who have not had a request of this round answered. */
  #owed = new Set();
  #over = () => {};
  /** Ends the wait of a client. @type {Map<() => void, () => void>} */
  #waiting = new Map();
  #hasEnded = false;

  /**
   * @param {() => number} clock
   * @param {number} think Up to so many milliseconds between two requests of a client.
   */
  constructor(clock, think) {
    this.#clock = clock;
    this.#think = think;
  }

  next(start, finished) {
    if (this.#begunIn.get(start) === this.#round) this.#answered(start);
    if (this.#hasEnded) return finished();
    const begin = () => {
      clearTimeout(timer);
      this.#waiting.delete(start);
      if (this.#hasEnded) return finished();
      this.#begunIn.set(start, this.#round);
      start(this.#clock());
    };
    const isNew = !this.#begunIn.has(start);
    const timer = setTimeout(begin, Math.random() * this.#think);
    this.#waiting.set(start, begin);
    if (isNew || this.#owed.has(start)) begin();
  }

  another() {
    return undefined;
  }

  /** Every client makes one more request; resolves when each of them is settled. A round at a time. */
  ask() {
    this.#round++;
    this.#owed = new Set(this.#begunIn.keys());
    return new Promise((resolve) => {
      this.#over = resolve;
      this.#wake();
    });
  }

  stop() {
    this.#hasEnded = true;
    this.#wake();
  }

  #wake() {
    for (const begin of [...this.#waiting.values()]) begin();
  }

  #answered(start) {
    if (this.#owed.delete(start) && this.#owed.size === 0) this.#over();
  }
}
