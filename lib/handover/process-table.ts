// Other processes as /proc shows them. Undefined where there is no /proc, or no such process in it.
import { readFileSync } from 'node:fs';

/** The control groups of a process, as text to be compared: of each hierarchy the path (cgroups(7)). */
export function cgroupOf(pid: number | 'self'): string | undefined {
  return read(`/proc/${pid}/cgroup`);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
