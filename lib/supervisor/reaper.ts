// Reaps orphans. Where the supervisor is pid 1 of a container, the kernel makes every orphan its child, which stays a zombie
// until the supervisor waits for it: by pid, because libuv waits for Node's own children.
import { reapChild } from '../fd/pidfd.js';
import { allPids, processStat } from '../fd/proc.js';
import { isAwaited } from './launch.js';

/** Reaps orphans until the function returned is called. */
export function reapOrphans(): () => void {
  const reap = (): void => {
    // After libuv, which reaps Node's children on the same signal.
    setImmediate(() => {
      for (const pid of zombies()) if (!isAwaited(pid)) reapChild(pid);
    });
  };
  process.on('SIGCHLD', reap);
  reap();
  return () => {
    process.off('SIGCHLD', reap);
  };
}

/** Ended children that are not reaped yet. */
function zombies(): number[] {
  return allPids().filter((pid) => {
    const stat = processStat(pid);
    return stat?.state === 'Z' && stat.parent === process.pid;
  });
}
