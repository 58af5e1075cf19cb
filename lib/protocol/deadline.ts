// Waiting with a limit.

import { type Clock, systemClock } from './clock.js';

/** True when the promise settled in time. A rejection is passed on; the timer keeps the process alive until then. */
export async function settlesWithin(
  promise: Promise<unknown>,
  timeout: number,
  clock: Clock = systemClock,
): Promise<boolean> {
  let cancel = (): void => {};
  const late = new Promise<false>((resolve) => {
    cancel = clock.after(timeout, () => resolve(false));
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    cancel();
  }
}

export function sleep(ms: number, clock: Clock = systemClock): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
