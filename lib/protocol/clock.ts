// The clock by which the engine waits: the system's, or one that a test moves by hand.

export interface Clock {
  /** Milliseconds since an arbitrary moment. Never goes back. */
  now(): number;
  /**
   * Calls `callback` once after `ms` milliseconds. Keeps the process alive until then, unless `isUnref`. The returned function
   * cancels the call.
   */
  after(ms: number, callback: () => void, options?: TimerOptions): () => void;
  /** Calls `callback` every `ms` milliseconds until the returned function is called. Keeps the process alive as `after` does. */
  every(ms: number, callback: () => void, options?: TimerOptions): () => void;
}

export interface TimerOptions {
  /** The timer does not keep the process alive. @default false */
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
