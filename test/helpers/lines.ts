// The output of a program as lines that tests wait for. A line is claimed by the first wait it fits, so that waiting
// twice for "ready" means two of them.

interface Waiter {
  take(line: string): boolean;
  end(reason: string): void;
}

/** Collects text, cuts it into lines, hands each line to who waits for it. */
export class Lines {
  #text = '';
  #partial = '';
  #ended = false;
  readonly #unclaimed: string[] = [];
  readonly #waiters = new Set<Waiter>();

  /** All that came, claimed or not. */
  get text(): string {
    return this.#text;
  }

  add(chunk: string): void {
    this.#text += chunk;
    const lines = (this.#partial + chunk).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#offer(line);
  }

  /** Nothing more will come: every wait fails now. */
  end(): void {
    this.#ended = true;
    if (this.#partial !== '') this.#offer(this.#partial);
    this.#partial = '';
    for (const waiter of this.#waiters) waiter.end('the output ended');
  }

  #offer(line: string): void {
    for (const waiter of this.#waiters) {
      if (waiter.take(line)) return;
    }
    this.#unclaimed.push(line);
  }

  /**
   * Resolves with what `match` makes of the first unclaimed line it does not answer `undefined` to, come or to come.
   * Rejects when the output ends or `timeout` is over; `what` is for that message.
   */
  next<T>(match: (line: string) => T | undefined, what: string, timeout: number): Promise<T> {
    for (const [index, line] of this.#unclaimed.entries()) {
      const found = match(line);
      if (found === undefined) continue;
      this.#unclaimed.splice(index, 1);
      return Promise.resolve(found);
    }
    if (this.#ended) return Promise.reject(new Error(`no ${what}: the output ended`));
    return new Promise<T>((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        take: (line) => {
          const found = match(line);
          if (found === undefined) return false;
          settle();
          resolve(found);
          return true;
        },
        end: (reason) => {
          settle();
          reject(new Error(`no ${what}: ${reason}`));
        },
      };
      const timer = setTimeout(() => waiter.end(`waited ${timeout} ms`), timeout);
      this.#waiters.add(waiter);
    });
  }
}
