// Which descriptors the FdSockets of this thread own. libuv has them in its loop, and aborts the process when it arms one
// that other code has closed: every other way to close such a number is refused.
import { constants } from 'node:os';
import { systemError } from '../errors.js';
import { native } from './native.js';

/** One FdSocket's claim. The inode tells the socket from a later file with its number, should other code close it. */
export interface Ownership {
  readonly fd: number;
  readonly inode: bigint | undefined;
}

const owned = new Map<number, Ownership>();

/** Enters a descriptor. @throws EEXIST an FdSocket has it already: two would take each other's events */
export function own(fd: number): Ownership {
  const inode = inodeOf(fd);
  const other = owned.get(fd);
  if (other && other.inode === inode) throw systemError(-constants.errno.EEXIST, 'uv_poll_init', { fd });
  const ownership = { fd, inode };
  owned.set(fd, ownership);
  return ownership;
}

/** Ends a claim. False: the number has been closed meanwhile, and may be another file's by now. */
export function disown(ownership: Ownership): boolean {
  const { fd, inode } = ownership;
  if (owned.get(fd) !== ownership) return false;
  owned.delete(fd);
  return inode !== undefined && inodeOf(fd) === inode;
}

/** @throws ERR_INVALID_STATE one of them is an FdSocket's */
export function expectNotOwned(fds: ArrayLike<number>): void {
  if (owned.size === 0) return;
  for (let i = 0; i < fds.length; i++) {
    const fd = fds[i] ?? -1;
    const ownership = owned.get(fd);
    if (!ownership || inodeOf(fd) !== ownership.inode) continue;
    const message = `descriptor ${fd} belongs to an FdSocket: call its close()`;
    throw Object.assign(new Error(message), { code: 'ERR_INVALID_STATE', fd });
  }
}

function inodeOf(fd: number): bigint | undefined {
  const description = native().describe(fd);
  return typeof description === 'number' ? undefined : description.ino;
}
