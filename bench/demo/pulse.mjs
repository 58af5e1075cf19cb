// Waiting for a condition over state that several sources change, without polling it: each change beats, a waiter looks again.

export class Pulse {
  #waiters = new Set();

  /** Something changed. */
  beat = () => {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  };

  /**
   * @param {() => boolean} condition Looked at now and after every beat; what it throws ends the wait.
   * @param {number} timeout Milliseconds.
   * @returns {Promise<boolean>} Whether the condition came true in time.
   */
  async until(condition, timeout) {
    const end = performance.now() + timeout;
    for (;;) {
      if (condition()) return true;
      const left = end - performance.now();
      if (left <= 0) return false;
      await this.#next(left);
    }
  }

  #next(timeout) {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeout);
      this.#waiters.add(wake);
    });
  }
}
