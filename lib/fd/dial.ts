// Connecting to a Unix socket, synchronously: the kernel answers at once.
import { native } from './native.js';

/** Tries to connect, and closes. 0: somebody listens; otherwise the negative errno of connect(2). */
export function connectsTo(path: string): number {
  const { AF_UNIX, SOCK_STREAM } = native().constants;
  const fd = native().socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return fd;
  // A blocking connect(2) waits for room in a full accept queue, and the event loop with it; this one is EAGAIN.
  native().setNonblocking(fd, true);
  const result = native().connectUnix(fd, Buffer.from(path));
  native().close(fd);
  return result;
}
