// The rules for a socket by which this process can be replaced or ended: nobody else may reach it, or put one of his own
// in its place.
import { HandoverError, type HandoverErrorCode } from '../errors.js';
import type { PeerCredentials } from '../fd/index.js';
import { unsafety } from '../fd/safe-files.js';

/** Connecting needs write permission (unix(7)). */
export const SOCKET_MODE = 0o600;

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
