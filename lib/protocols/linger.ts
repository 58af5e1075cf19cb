// The lingering close of RFC 9112 §9.6: shuts a connection down for writing, then reads until the client's FIN. A plain
// close answers unread or later input with an RST, and the RST throws away the part of the last response that the client
// has not acknowledged (6 of 6 slow readers lost it, FACTS C7a).
import type { Socket } from 'node:net';

/** Milliseconds for a client to end its side once it can read the end of this side. */
const LINGER_TIME = 2_000;

const lingering = new WeakSet<Socket>();

/**
 * Ends a connection once its pending output is sent: with TLS close_notify, then FIN. Further input of the client is
 * discarded unseen: it cannot be answered, so the app must not act on it.
 */
export function lingerAndClose(socket: Socket): void {
  if (lingering.has(socket) || socket.destroyed) return;
  lingering.add(socket);
  // Removes the listeners of the HTTP parser. A listener for 'data' makes Node read for the socket, not for the parser.
  socket.removeAllListeners('data').removeAllListeners('readable');
  socket.on('data', () => {}).resume();
  if (socket.writableFinished) limitLinger(socket);
  else socket.once('finish', () => limitLinger(socket));
  socket.end();
}

/** Limits the linger of a socket that is shut down for writing and still read, as Node does with HTTP/2. */
export function limitLinger(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_TIME);
  socket.once('close', () => clearTimeout(timer));
}

/**
 * Makes a connection linger when Node ends it after a response, while `isWanted()` is true. Not one whose client has ended
 * its side: that client sends nothing more.
 */
export function lingerAtEnd(socket: Socket, isWanted: () => boolean): void {
  const destroySoon = socket.destroySoon;
  socket.destroySoon = () => {
    if (isWanted() && !socket.readableEnded) lingerAndClose(socket);
    else destroySoon.call(socket);
  };
}
