// Which processes hold a file in memory, and which bytes of it each has locked, as /proc tells.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Pidfd, processStartTime } from './pidfd.js';

/** A process with a descriptor of the file. */
export interface Locker {
  readonly pid: number;
  readonly inode: string;
  /** The bytes it has; absent where it has none. */
  readonly range?: { readonly from: number; readonly isOpenEnded: boolean };
}

const IS_SHARED_FILE = /^\/memfd:handover:charge\b/;

/**
 * Every process that this one may inspect: root sees all, other users only their own, within the pid namespace. Reads
 * every descriptor of the machine: not for a process that serves.
 * @see proc_pid_fdinfo(5)
 */
export function lockers(proc: string = '/proc'): Locker[] {
  const pids = list(proc).map(Number).filter(Number.isInteger);
  return pids.sort((a, b) => a - b).flatMap((pid) => lockersIn(join(proc, String(pid)), pid));
}

function lockersIn(folder: string, pid: number): Locker[] {
  return list(join(folder, 'fd')).flatMap((fd) => {
    try {
      const path = join(folder, 'fd', fd);
      if (!IS_SHARED_FILE.test(readlinkSync(path))) return [];
      const info = readFileSync(join(folder, 'fdinfo', fd), 'utf8');
      // In fdinfo since Linux 5.14.
      const inode = /^ino:\s+(\d+)$/m.exec(info)?.[1] ?? String(statSync(path).ino);
      return [{ pid, inode, ...rangeOf(info) }];
    } catch {
      // Closed between the listing and the reading.
      return [];
    }
  });
}

/** `lock:	1: OFDLCK ADVISORY  WRITE -1 00:01:1166 5 EOF`; by splitting there may be two. */
function rangeOf(info: string): Pick<Locker, 'range'> {
  const ranges = [...info.matchAll(/^lock:.*OFDLCK.* (\d+) (\d+|EOF)$/gm)];
  const [first] = ranges;
  if (!first) return {};
  return { range: { from: Number(first[1]), isOpenEnded: ranges.some(([, , to]) => to === 'EOF') } };
}

/** Kills every other process that has locked a byte of the file; their number and start time are looked at before. */
export function endLockersOf(inode: string): void {
  for (const { pid, inode: other, range } of lockers()) {
    if (other !== inode || range === undefined || pid === process.pid) continue;
    const startTime = processStartTime(pid);
    const pidfd = startTime === undefined ? undefined : Pidfd.open(pid, startTime);
    pidfd?.kill('SIGKILL');
    pidfd?.close();
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
