// Which processes hold a socket, as /proc tells: a listener is shared by a predecessor, a successor, a supervisor and
// any other process with a copy.
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The pids that hold each of the sockets, by inode. Processes that this one may not inspect (other users', unless
 * this is root) and other pid namespaces are not seen. Reads every descriptor of the machine: not for a process that serves.
 * @see proc_pid_fd(5)
 */
export function holdersOf(inodes: Iterable<string>, proc: string = '/proc'): Map<string, number[]> {
  const holders = new Map([...inodes].map((inode): [string, number[]] => [inode, []]));
  for (const pid of list(proc).map(Number).filter(Number.isInteger).sort(byNumber)) {
    for (const inode of new Set(socketsOf(join(proc, String(pid), 'fd')))) holders.get(inode)?.push(pid);
  }
  return holders;
}

function byNumber(a: number, b: number): number {
  return a - b;
}

function* socketsOf(folder: string): Generator<string> {
  for (const name of list(folder)) {
    const [, inode] = /^socket:\[(\d+)\]$/.exec(target(join(folder, name))) ?? [];
    if (inode !== undefined) yield inode;
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // Closed between the listing and the reading.
    return '';
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
