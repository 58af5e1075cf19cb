// Waiting for what no event tells, up to a deadline or until somebody has had enough.
import { setTimeout as pause } from 'node:timers/promises';

const INTERVAL = 10;

/** Whether `look` came true in time. */
export async function until(look: () => boolean, timeout: number, signal?: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + timeout;
  for (;;) {
    if (look()) return true;
    if (performance.now() >= deadline || signal?.aborted) return false;
    await pause(INTERVAL);
  }
}

/** Resolves at that moment of `performance.now()`, or when the signal is aborted. */
export async function untilTime(at: number, signal: AbortSignal): Promise<void> {
  const left = at - performance.now();
  if (left > 0) await pause(left, undefined, { signal }).catch(() => {});
}
