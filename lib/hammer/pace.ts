// Says when the next request of a client begins: at once (closed loop), or at its place in a fixed row of arrivals.

/** Told when its request begins; `intendedAt` is the moment its latency counts from. */
export type Starter = (intendedAt: number) => void;

export interface Pace {
  /** Calls `start` when the client's next request is due, `finished` instead when there will be none. */
  next(start: Starter, finished: () => void): void;
  /** The intended start of one more request that may go along right now, if there is one. */
  another(): number | undefined;
  /** No new request from here on. */
  stop(): void;
}

/** A client's next request begins when it asks. */
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
  /** The first arrival: threads take turns. */
  readonly offset: number;
  readonly limit: number;
  /** How long what is overdue when the run ends is still worked off. */
  readonly patience: number;
  /** Told of each arrival that was given up. */
  readonly notSent: () => void;
}

interface Waiting {
  readonly start: Starter;
  readonly finished: () => void;
}

/**
 * Arrivals come at fixed times, whatever the server does. One that finds no free client waits, and its wait counts:
 * that is the correction for coordinated omission. Timers of Node have a millisecond, and so has this.
 */
export class OpenLoop implements Pace {
  readonly #clock: () => number;
  readonly #options: OpenLoopOptions;
  readonly #waiting: Waiting[] = [];
  readonly #ticking: NodeJS.Timeout;
  /** Arrivals that were given to a client. */
  #taken = 0;
  /** Arrivals there will ever be. */
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
