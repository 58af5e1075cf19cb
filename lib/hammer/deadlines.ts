// Checks the deadlines of many connections with one timer: a timer for each request costs more than the request.

const INTERVAL = 20;

export interface Checked {
  check(now: number): void;
}

export class Deadlines {
  readonly #clock: () => number;
  readonly #all = new Set<Checked>();
  readonly #timer: NodeJS.Timeout;
  /** The time of the last check. */
  #last: number;

  constructor(clock: () => number) {
    this.#clock = clock;
    this.#last = clock();
    this.#timer = setInterval(() => this.#look(), INTERVAL);
  }

  add(checked: Checked): void {
    this.#all.add(checked);
  }

  delete(checked: Checked): void {
    this.#all.delete(checked);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /**
   * Checks against the time of the check before: since then the event loop has read all bytes that had arrived by that time.
   * With the current time, an answer that waits in the kernel while this process is busy would count as missing.
   */
  #look(): void {
    const before = this.#last;
    this.#last = this.#clock();
    for (const checked of this.#all) checked.check(before);
  }
}
