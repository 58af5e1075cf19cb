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
