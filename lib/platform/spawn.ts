// child_process.spawn, without what it does to the stdio of those who share it. libuv makes descriptors 0 to 2 of the child
// blocking, which are this process' own where they are inherited: its next write to a pipe nobody reads would never return.
import { type ChildProcess, spawn as nodeSpawn, type SpawnOptions } from 'node:child_process';
import { describeFd, setNonblocking } from '../fd/index.js';

const STDIO = [0, 1, 2] as const;

export function spawn(file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const nonblocking = STDIO.filter(isNonblocking);
  const restore = (): void => {
    for (const fd of nonblocking) if (!isNonblocking(fd)) setNonblocking(fd);
  };
  const child = nodeSpawn(file, args, options);
  restore();
  // A Node process puts back what it found, and that may have been before the line above.
  child.once('exit', restore);
  return child;
}

/** Whether it is open, and does not wait. */
function isNonblocking(fd: number): boolean {
  try {
    return describeFd(fd).nonblocking;
  } catch {
    return false;
  }
}
