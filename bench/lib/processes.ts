// Processes a bench watches although it did not start them: who is still there, and when they were gone.
import { setTimeout as sleep } from 'node:timers/promises';
import { processStat } from '../../dist/fd/proc.js';
import { identify } from './process-id.mjs';

const POLL = 2;

/** Milliseconds of a tick of /proc: USER_HZ is 100 on every architecture Node has. */
const TICK = 10;

/** Milliseconds of CPU of those children of this process, and theirs, that have ended; NaN where there is no /proc. */
export function endedCpuMs(): number {
  return (processStat('self')?.endedChildrenTicks ?? Number.NaN) * TICK;
}

/** Resolves when none of them is left, within 2 ms. @throws Error after the deadline, naming those that are */
export async function allGone(pids: Iterable<number>, deadline: number): Promise<void> {
  const until = performance.now() + deadline;
  let left = [...pids];
  for (;;) {
    left = left.filter((pid) => identify(pid) !== undefined);
    if (left.length === 0) return;
    if (performance.now() > until) throw new Error(`still there after ${deadline} ms: ${left.join(', ')}`);
    await sleep(POLL);
  }
}
