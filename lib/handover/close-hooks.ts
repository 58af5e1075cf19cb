// What the app wants done after its last request: in order, each with its deadline, none able to stop the others.
import { publish } from '../events.js';
import { settlesWithin } from './deadline.js';

interface CloseHook {
  readonly name: string;
  readonly run: () => unknown;
  readonly timeout: number;
}

export class CloseHooks {
  readonly #hooks: CloseHook[] = [];

  add(hook: CloseHook): void {
    this.#hooks.push(hook);
  }

  /** Runs them all, once. A hook that fails or hangs is published and passed over. */
  async run(): Promise<void> {
    for (const { name, run, timeout } of this.#hooks.splice(0)) {
      try {
        const isInTime = await settlesWithin((async () => run())(), timeout);
        if (!isInTime) throw new Error(`the close hook "${name}" did not end within ${timeout} ms`);
      } catch (error) {
        publish('hook-failed', { name, error: error instanceof Error ? error : new Error(String(error)) });
      }
    }
  }
}
