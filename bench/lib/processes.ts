// Processes a bench watches although it did not start them: who is still there, and when they were gone.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL = 2;

/** A zombie has gone: what it had is closed. */
export function isAlive(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may hold anything.
    return !'ZX'.includes(text.charAt(text.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** Milliseconds of a tick of /proc: USER_HZ is 100 on every architecture Node has. */
const TICK = 10;

/** Milliseconds of CPU of those children of this process, and theirs, that have ended; NaN where there is no /proc. */
export function endedCpuMs(): number {
  try {
    const text = readFileSync('/proc/self/stat', 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // cutime and cstime, the 16th and 17th of proc(5); the state is the third.
    return (Number(fields[13]) + Number(fields[14])) * TICK;
  } catch {
    return Number.NaN;
  }
}

/** Resolves when none of them is left, within 2 ms. @throws Error after the deadline, naming those that are */
export async function allGone(pids: Iterable<number>, deadline: number): Promise<void> {
  const until = performance.now() + deadline;
  let left = [...pids];
  for (;;) {
    left = left.filter(isAlive);
    if (left.length === 0) return;
    if (performance.now() > until) throw new Error(`still there after ${deadline} ms: ${left.join(', ')}`);
    await sleep(POLL);
  }
}
