// Time, as everything asks for it that waits with a limit: the system's, or one that a test moves by hand.

export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  /**
   * Calls back once after `ms`, and keeps the process alive until then unless `isUnref` says otherwise. The function returned
   * cancels it.
   */
  after(ms: number, callback: () => void, options?: TimerOptions): () => void;
  /** The same every `ms`, until it is cancelled. */
  every(ms: number, callback: () => void, options?: TimerOptions): () => void;
}

export interface TimerOptions {
  /** The process may end although the timer runs. */
  readonly isUnref?: boolean;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, callback, { isUnref = false } = {}) {
    const timer = setTimeout(callback, ms);
    if (isUnref) timer.unref();
    return () => clearTimeout(timer);
  },
  every(ms, callback, { isUnref = false } = {}) {
    const timer = setInterval(callback, ms);
    if (isUnref) timer.unref();
    return () => clearInterval(timer);
  },
};
