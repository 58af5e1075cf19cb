// Waiting for what no event tells: a condition looked at again and again, up to a deadline.
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';

/** How a wait ends. */
export interface Until {
  /** What is waited for; the error says `waited 2000 ms for ${what}`. */
  readonly what: string;
  /** @default 30_000 */
  readonly timeout?: number;
  /** Milliseconds between two looks; 0 looks at each turn of the event loop. @default 2 */
  readonly interval?: number;
}

/**
 * Resolves with the first value of `look` that is neither undefined nor false. For states of the kernel and of foreign
 * processes only: what has an event is waited for by its event.
 */
export async function until<T>(look: () => T | undefined | false, wait: Until): Promise<T> {
  const { what, timeout = 30_000, interval = 2 } = wait;
  const deadline = performance.now() + timeout;
  for (;;) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() >= deadline) throw new Error(`waited ${timeout} ms for ${what}`);
    await (interval === 0 ? nextTurn() : pause(interval));
  }
}
