// How many descriptors this process may still open.
import { readdirSync, readFileSync, statSync } from 'node:fs';

/** RLIMIT_NOFILE as it is now, less what is open; undefined where there is no /proc, or no limit. */
export function freeDescriptors(): number | undefined {
  try {
    // Any process of this user may have changed it since the start (prlimit(2)).
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    return limit === undefined ? undefined : Math.max(0, Number(limit) - countOpen());
  } catch {
    return undefined;
  }
}

/** Since Linux 6.2 the size of the directory is their number (proc_pid_fd(5)). */
function countOpen(): number {
  const { size } = statSync('/proc/self/fd');
  // Reading it takes one.
  return size > 0 ? size : readdirSync('/proc/self/fd').length - 1;
}
