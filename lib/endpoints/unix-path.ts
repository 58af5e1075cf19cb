// The file of a Unix listener: whether it is stale, and who may remove it. bind(2) makes it and nothing removes it, so a
// crash leaves it behind; removing the wrong one takes a living server off the net.
import { lstatSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { connectsTo } from '../fd/dial.js';

const { ECONNREFUSED } = constants.errno;

/** Device and inode of the path, or undefined where there is no file. Not those of the socket: that has its own. */
export function fileIdentity(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.dev}:${stat.ino}`;
}

/** Removes the path if it is still the file that `identity` names. */
export function removeIfSame(path: string, identity: string): boolean {
  if (fileIdentity(path) !== identity) return false;
  unlinkSync(path);
  return true;
}

/**
 * Removes a socket file that nobody listens on any more: connecting is refused. A full accept queue is EAGAIN, any other
 * error says nothing: both count as alive.
 */
export function removeIfStale(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat?.isSocket()) return false;
  const identity = fileIdentity(path);
  if (identity === undefined || connectsTo(path) !== -ECONNREFUSED) return false;
  return removeIfSame(path, identity);
}
