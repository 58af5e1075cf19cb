// Runs code of the app for thousands of connections, a few milliseconds in each turn of the event loop.

/** Milliseconds of one slice; other events get their turn between two slices. */
const SLICE = 4;

export class Slices<T> {
  readonly #act: (item: T) => void;
  #items: T[] = [];
  #next = 0;
  #isScheduled = false;

  /** `act` is called in a macrotask, and must not throw. */
  constructor(act: (item: T) => void) {
    this.#act = act;
  }

  add(item: T): void {
    this.#items.push(item);
    this.#schedule();
  }

  /** Drops the items that wait. */
  clear(): void {
    this.#items = [];
    this.#next = 0;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#run();
    });
  }

  #run(): void {
    const start = performance.now();
    while (this.#next < this.#items.length) {
      this.#act(this.#items[this.#next++] as T);
      if (performance.now() - start >= SLICE) break;
    }
    if (this.#next < this.#items.length) this.#schedule();
    else this.clear();
  }
}
