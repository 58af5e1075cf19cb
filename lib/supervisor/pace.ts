// The supervisor's timers: a deadline for a step, and the pause before it starts a crashed worker again.
import { HandoverError } from '../errors.js';

/** Rejects a step that takes too long or is aborted. The caller clears it. */
export class Deadline {
  isOver = false;
  readonly #timer: NodeJS.Timeout;
  readonly #expired: Promise<never>;
  #expire: (error: HandoverError) => void = () => {};

  constructor(ms: number, message: string) {
    this.#expired = new Promise((_, reject) => {
      this.#expire = reject;
    });
    this.#expired.catch(() => {});
    this.#timer = setTimeout(
      () => this.expire(new HandoverError('ERR_HANDOVER_TIMEOUT', message, { stillServing: true })),
      ms,
    );
  }

  /** Settles as the promise. @throws ERR_HANDOVER_TIMEOUT it has not settled in time; the error given to `expire` */
  async cuts<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#expired]);
  }

  /** Rejects the step now, with this error. */
  expire(error: HandoverError): void {
    this.isOver = true;
    this.#expire(error);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

const FIRST_DELAY = 100;
const LONGEST_DELAY = 10_000;
/** A worker that lived this long had started well: its crash begins a new series. */
const HEALTHY_AFTER = 10_000;

/** The delay before a restart: longer from crash to crash, none for a worker that had lived for a while. */
export class Backoff {
  #crashes = 0;
  #startedAt = 0;
  #wake: () => void = () => {};

  /** Call it when a worker starts. */
  onStart(): void {
    this.#startedAt = performance.now();
  }

  /** Call it when the worker has crashed. @returns milliseconds to the next start */
  next(): number {
    this.#crashes = performance.now() - this.#startedAt > HEALTHY_AFTER ? 0 : this.#crashes + 1;
    return this.#crashes === 0 ? 0 : Math.min(FIRST_DELAY * 2 ** (this.#crashes - 1), LONGEST_DELAY);
  }

  /** Call it when a worker of another release serves. */
  reset(): void {
    this.#crashes = 0;
    this.onStart();
  }

  /** Resolves after `ms`, or when cancelled. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  cancel(): void {
    this.#wake();
  }
}
