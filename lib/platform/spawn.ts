// child_process.spawn, which leaves inherited stdio non-blocking. libuv makes descriptors 0 to 2 of the child blocking, and an
// inherited one shares this flag with the parent: the parent's next write to a full pipe would block it (FACTS P7).
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
  // A child that is a Node process puts its first flags back at its exit. It may have read them before `restore()` above.
  child.once('exit', restore);
  return child;
}

/** Whether the descriptor is open and non-blocking. */
function isNonblocking(fd: number): boolean {
  try {
    return describeFd(fd).nonblocking;
  } catch {
    return false;
  }
}
