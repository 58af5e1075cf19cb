// The lingering close of RFC 9112 §9.6: a connection that this side ends is shut down for writing, then read to the
// client's end. A plain close answers input that nobody read, or that comes later, with an RST, and an RST throws away what
// of the last response the client has not acknowledged (6 of 6 slow readers lost it, FACTS C7a).
import type { Socket } from 'node:net';

/** Milliseconds a client may take to end its side once it can read that this one has ended. */
const LINGER_TIME = 2_000;

const lingering = new WeakSet<Socket>();

/**
 * Ends a connection as soon as what it has to send is sent: with TLS close_notify, then FIN. What the client still sends is
 * read and thrown away unseen: nobody could answer it, so nobody may act on it.
 */
export function lingerAndClose(socket: Socket): void {
  if (lingering.has(socket) || socket.destroyed) return;
  lingering.add(socket);
  // Those of the HTTP parser, which reads the handle itself until somebody listens for 'data'.
  socket.removeAllListeners('data').removeAllListeners('readable');
  socket.on('data', () => {}).resume();
  if (socket.writableFinished) limitLinger(socket);
  else socket.once('finish', () => limitLinger(socket));
  socket.end();
}

/** For one that is shut down for writing and read on already, as Node does with HTTP/2: not for longer than it is useful. */
export function limitLinger(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_TIME);
  socket.once('close', () => clearTimeout(timer));
}

/**
 * From now on, while `isWanted` says so, a connection that Node ends after a response lingers. One whose client has ended
 * its side has nothing more to read.
 */
export function lingerAtEnd(socket: Socket, isWanted: () => boolean): void {
  const destroySoon = socket.destroySoon;
  socket.destroySoon = () => {
    if (isWanted() && !socket.readableEnded) lingerAndClose(socket);
    else destroySoon.call(socket);
  };
}
