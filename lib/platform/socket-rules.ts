// The rules for a socket by which this process can be replaced or ended: no other user may connect to it, or put another
// socket at its path.
import { HandoverError, type HandoverErrorCode } from '../errors.js';
import type { PeerCredentials } from '../fd/index.js';
import { unsafety } from '../fd/safe-files.js';

/** Mode of such a socket: connect(2) needs write permission (unix(7)), which only the owner has. */
export const SOCKET_MODE = 0o600;

/** Refuses a directory in which another user can put a socket at the path. @throws `code` */
export function expectSafeDirectory(directory: string, what: 'takeover' | 'control', code: HandoverErrorCode): void {
  const reason = unsafety(directory);
  if (reason === undefined) return;
  const message = `${reason}, so another user could replace the ${what} socket: the directory must belong to root or to the user of this process, and only its owner may write to it (chown, chmod go-w)`;
  throw new HandoverError(code, message, { phase: 'PREPARE', stillServing: false });
}

export function isSameUser({ uid }: PeerCredentials): boolean {
  return uid === process.geteuid?.();
}

/** Whether the peer is this user or root. Root could do everything that the socket allows by a debugger, too. */
export function isSameUserOrRoot(peer: PeerCredentials): boolean {
  return peer.uid === 0 || isSameUser(peer);
}
