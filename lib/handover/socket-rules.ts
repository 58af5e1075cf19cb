// The rules for a socket by which this process can be replaced or ended: nobody else may reach it, or put one of his own
// in its place.
import { statSync } from 'node:fs';
import { HandoverError, type HandoverErrorCode } from '../errors.js';
import type { PeerCredentials } from '../fd/index.js';

/** Connecting needs write permission (unix(7)). */
export const SOCKET_MODE = 0o600;

/** What is wrong with a directory as the place of such a socket of a user; undefined where nothing is. */
export function unsafety(directory: string, user: number | undefined = process.geteuid?.()): string | undefined {
  const { mode, uid } = statSync(directory);
  if ((mode & 0o022) !== 0) return `${directory} can be written to by other users`;
  if (uid !== 0 && uid !== user) return `${directory} belongs to user ${uid}`;
  return undefined;
}

/** Whoever can write to the directory can put a socket of his own at the path. */
export function expectSafeDirectory(directory: string, what: 'takeover' | 'control', code: HandoverErrorCode): void {
  const reason = unsafety(directory);
  if (reason === undefined) return;
  const message = `${reason}: no place for a ${what} socket (chmod go-w, own it)`;
  throw new HandoverError(code, message, { phase: 'PREPARE', stillServing: false });
}

export function isSameUser({ uid }: PeerCredentials): boolean {
  return uid === process.geteuid?.();
}

/** The superuser could do the same with a debugger. */
export function isSameUserOrRoot(peer: PeerCredentials): boolean {
  return peer.uid === 0 || isSameUser(peer);
}
