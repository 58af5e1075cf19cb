// Decides when the next request of a client begins: at once (closed loop), or at its time in a fixed schedule of arrivals.

/** Called when the request begins; its latency counts from `intendedAt`. */
export type Starter = (intendedAt: number) => void;

export interface Pace {
  /** Calls `start` when the client's next request is due, or `finished` when there will be none. */
  next(start: Starter, finished: () => void): void;
  /** The intended start of one more request that may be sent along now; undefined if there is none. */
  another(): number | undefined;
  /** Ends new requests. */
  stop(): void;
}

/** A client's next request begins as soon as the client asks. */
export class ClosedLoop implements Pace {
  readonly #clock: () => number;
  #left: number;

  constructor(clock: () => number, limit: number) {
    this.#clock = clock;
    this.#left = limit;
  }

  next(start: Starter, finished: () => void): void {
    if (this.#left <= 0) {
      finished();
      return;
    }
    this.#left--;
    start(this.#clock());
  }

  another(): number | undefined {
    if (this.#left <= 0) return undefined;
    this.#left--;
    return this.#clock();
  }

  stop(): void {
    this.#left = 0;
  }
}

export interface OpenLoopOptions {
  /** Milliseconds from one arrival to the next. */
  readonly interval: number;
  /** Time of the first arrival: the threads take turns. */
  readonly offset: number;
  readonly limit: number;
  /** Milliseconds after the end of the run in which overdue arrivals are still started. */
  readonly patience: number;
  /** Called for each arrival that is given up. */
  readonly notSent: () => void;
}

interface Waiting {
  readonly start: Starter;
  readonly finished: () => void;
}

/**
 * Arrivals come at fixed times, whatever the server does. An arrival without a free client waits, and its latency includes the
 * wait: this corrects for coordinated omission. The resolution is a millisecond, as of Node's timers.
 */
export class OpenLoop implements Pace {
  readonly #clock: () => number;
  readonly #options: OpenLoopOptions;
  readonly #waiting: Waiting[] = [];
  readonly #ticking: NodeJS.Timeout;
  /** Arrivals that were given to a client. */
  #taken = 0;
  /** Total number of arrivals. */
  #limit: number;
  #givesUpAt = Number.POSITIVE_INFINITY;

  constructor(clock: () => number, options: OpenLoopOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#limit = options.limit;
    this.#ticking = setInterval(() => this.#release(), 1);
  }

  next(start: Starter, finished: () => void): void {
    this.#waiting.push({ start, finished });
    this.#release();
  }

  another(): number | undefined {
    return this.#hasDue(this.#clock()) ? this.#take() : undefined;
  }

  stop(): void {
    const now = this.#clock();
    this.#limit = Math.min(this.#limit, this.#dueBy(now));
    this.#givesUpAt = now + this.#options.patience;
    this.#release();
  }

  #dueBy(now: number): number {
    const { interval, offset } = this.#options;
    return now < offset ? 0 : Math.floor((now - offset) / interval) + 1;
  }

  #hasDue(now: number): boolean {
    return this.#taken < Math.min(this.#limit, this.#dueBy(now));
  }

  #take(): number {
    return this.#options.offset + this.#taken++ * this.#options.interval;
  }

  #release(): void {
    const now = this.#clock();
    if (now >= this.#givesUpAt) this.#giveUp();
    while (this.#waiting.length > 0 && this.#hasDue(now)) this.#waiting.shift()?.start(this.#take());
    if (this.#taken < this.#limit) return;
    clearInterval(this.#ticking);
    for (const { finished } of this.#waiting.splice(0)) finished();
  }

  #giveUp(): void {
    for (; this.#taken < this.#limit; this.#taken++) this.#options.notSent();
  }
}
