// As pid 1 of a container every orphan becomes this process' child, and a zombie when it ends, unless somebody waits for
// it. Each by its own number: libuv waits for the children that are Node's.
import { reapChild } from '../fd/pidfd.js';
import { allPids, processStat } from '../fd/proc.js';
import { isAwaited } from './launch.js';

/** Reaps orphans until the function returned is called. */
export function reapOrphans(): () => void {
  const reap = (): void => {
    // Behind libuv, which waits for its own on the same signal.
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

/** Children that have ended and nobody has waited for. */
function zombies(): number[] {
  return allPids().filter((pid) => {
    const stat = processStat(pid);
    return stat?.state === 'Z' && stat.parent === process.pid;
  });
}
