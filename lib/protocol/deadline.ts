// Waiting with a limit of time.

import { type Clock, systemClock } from './clock.js';

/**
 * True where the promise resolved within `timeout` milliseconds. Throws where it rejected within that time. The timer keeps
 * the process alive meanwhile.
 */
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
