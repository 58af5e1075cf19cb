// Fails a test that leaves descriptors or child processes behind, or that closes a descriptor which was not its own.
import { fstatSync, readdirSync, readlinkSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { aroundEach } from 'vitest';
import { childProcesses } from './processes.js';

/** How long a close or an exit that is already under way may take before it counts as a leak. */
const SETTLE_TIMEOUT = 2_000;

/** What a process holds: descriptor number to what it is, pid of a child to its command line. */
export interface Holdings {
  readonly descriptors: ReadonlyMap<number, string>;
  readonly children: ReadonlyMap<number, string>;
}

/**
 * The open descriptors of a process and what each is: `socket:[4711]`, `pipe:[12]`, a path. Of another process: on
 * Linux only.
 */
export function openDescriptors(pid: number | 'self' = 'self'): Map<number, string> {
  const folder = process.platform === 'linux' ? `/proc/${pid}/fd` : '/dev/fd';
  const open = new Map<number, string>();
  for (const name of readdirSync(folder)) {
    try {
      open.set(Number(name), process.platform === 'linux' ? readlinkSync(`${folder}/${name}`) : identity(Number(name)));
    } catch {
      // The descriptor that readdir itself had open.
    }
  }
  return open;
}

function identity(fd: number): string {
  const { mode, dev, ino } = fstatSync(fd);
  return `mode ${mode.toString(8)}, device ${dev}, inode ${ino}`;
}

/** What this process holds right now. */
export function holdings(): Holdings {
  return { descriptors: openDescriptors(), children: childProcesses() };
}

/** What differs, one line for each descriptor and child: `leaked descriptor 23: socket:[4711]`. */
export function differences(before: Holdings, after: Holdings): string[] {
  const lines: string[] = [];
  for (const [fd, target] of after.descriptors) {
    const was = before.descriptors.get(fd);
    if (was === undefined) lines.push(`leaked descriptor ${fd}: ${target}`);
    else if (was !== target) lines.push(`descriptor ${fd} was ${was} before the test, is ${target} now`);
  }
  for (const [fd, target] of before.descriptors) {
    if (!after.descriptors.has(fd)) lines.push(`closed descriptor ${fd}, open before the test: ${target}`);
  }
  for (const [pid, command] of after.children) {
    if (!before.children.has(pid)) lines.push(`left child process ${pid}: ${command}`);
  }
  return lines;
}

/** What this process holds once two looks, a turn of the event loop apart, agree: nothing is on its way any more. */
export async function settledHoldings(): Promise<Holdings> {
  const deadline = performance.now() + SETTLE_TIMEOUT;
  let last = holdings();
  while (performance.now() < deadline) {
    await nextTurn();
    const now = holdings();
    if (differences(last, now).length === 0) break;
    last = now;
  }
  return last;
}

/**
 * What is still different from `before`. Returns as soon as nothing is, at most 2 s later: libuv closes handles at the
 * end of a turn, a file in its thread pool, and a killed child has to be reaped.
 */
export async function leaksSince(before: Holdings): Promise<string[]> {
  const deadline = performance.now() + SETTLE_TIMEOUT;
  for (;;) {
    const lines = differences(before, holdings());
    if (lines.length === 0 || performance.now() >= deadline) return lines;
    await nextTurn();
  }
}

/**
 * Each test of this file (or of the `describe` it is called in) must end with the descriptors and children it began
 * with. Call it first: it then looks after every `afterEach` and `onTestFinished` has cleaned up. Not for concurrent
 * tests.
 */
export function expectNoLeaks(): void {
  aroundEach(async (runTest) => {
    const before = await settledHoldings();
    await runTest();
    const lines = await leaksSince(before);
    if (lines.length > 0) throw new Error(`the test did not leave what it found:\n  ${lines.join('\n  ')}`);
  });
}
