// As pid 1 of a container every orphan becomes this process' child, and a zombie when it ends, unless somebody waits for
// it. Each by its own number: libuv waits for the children that are Node's.
import { readdirSync, readFileSync } from 'node:fs';
import { reapChild } from '../fd/pidfd.js';
import { isAwaited } from './worker.js';

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

/** Children that have ended and nobody has waited for (proc_pid_stat(5)). */
function zombies(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      const [state, parent] = statOf(name);
      return state === 'Z' && Number(parent) === process.pid;
    })
    .map(Number);
}

function statOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  } catch {
    return [];
  }
}
