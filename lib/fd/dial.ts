// Connecting to a Unix socket, and accepting on one, for sockets that carry descriptors: Node's own would read from them.
import { constants } from 'node:os';
import { systemError } from '../errors.js';
import { native, type Poller, READABLE } from './native.js';

const { EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE } = constants.errno;

/** Connects, synchronously: the kernel answers at once. Returns a descriptor that is the caller's, or a negative errno. */
export function dial(path: string): number {
  return connect(native().constants.SOCK_STREAM, path);
}

/** The same to a datagram socket; a path that begins with a NUL is an abstract name. */
export function dialDatagram(path: string): number {
  return connect(native().constants.SOCK_DGRAM, path);
}

function connect(type: number, path: string): number {
  const fd = native().socket(native().constants.AF_UNIX, type, 0);
  if (fd < 0) return fd;
  // On a blocking socket a full accept queue would block the event loop; here connect(2) fails with EAGAIN instead.
  native().setNonblocking(fd, true);
  const result = native().connectUnix(fd, Buffer.from(path));
  if (result === 0) return fd;
  native().close(fd);
  return result;
}

/** Clears O_NONBLOCK for a process that writes blockingly. The flag belongs to every copy of the descriptor (FACTS K7). */
export function setBlocking(fd: number): void {
  native().setNonblocking(fd, false);
}

/** Tries to connect, and closes. 0: a process listens there; otherwise the negative errno of connect(2). */
export function connectsTo(path: string): number {
  const fd = dial(path);
  if (fd < 0) return fd;
  native().close(fd);
  return 0;
}

/** Milliseconds until accept(2) is tried again after an error: the error lasts, and the listener stays readable meanwhile. */
const RETRY_AFTER = 1_000;

/**
 * Accepts on a listener that stays the caller's, until the function returned is called: call it before the listener is
 * closed. The descriptors given to `onAccept` are its own. Does not keep the process alive. `makeRoom` is called when the
 * descriptor table is full. After any other error of accept(2) (ENFILE, ENOBUFS, ENOMEM …) the next try comes a second later.
 */
export function acceptOn(listener: number, onAccept: (fd: number) => void, makeRoom: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const poller = native().openPoller(listener, () => {
    let ended = acceptAll(listener, onAccept);
    if (ended === -EMFILE || ended === -ENFILE) {
      makeRoom();
      ended = acceptAll(listener, onAccept);
    }
    if (ended === -EAGAIN) return;
    opened.stop();
    timer = setTimeout(() => opened.start(READABLE), RETRY_AFTER).unref();
  });
  if (typeof poller === 'number') throw systemError(poller, 'uv_poll_init', { fd: listener });
  const opened: Poller = poller;
  opened.start(READABLE);
  opened.unref();
  return () => {
    clearTimeout(timer);
    opened.close();
  };
}

/** Accepts until the queue is empty; returns the errno that ended the loop, -EAGAIN as a rule. */
function acceptAll(listener: number, onAccept: (fd: number) => void): number {
  for (;;) {
    const fd = native().accept(listener);
    if (fd >= 0) onAccept(fd);
    else if (fd !== -ECONNABORTED && fd !== -EINTR) return fd;
  }
}
