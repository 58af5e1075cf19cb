// Writing without waiting to a descriptor that others share, and whose O_NONBLOCK is therefore not ours to set.
import { systemError } from '../errors.js';
import { isSupported, native } from './native.js';

/** False where there is no addon, or one that was built before it could. */
export function canWriteNow(): boolean {
  return isSupported() && typeof native().writeNow === 'function';
}

/**
 * Writes as much as fits. Of a pipe or terminal, not of a socket, another writer may take the room that was seen.
 * @returns bytes written
 * @throws EAGAIN no byte fits; EPIPE no process reads the pipe
 */
export function writeNow(fd: number, bytes: Uint8Array): number {
  const written = native().writeNow(fd, bytes);
  if (written < 0) throw systemError(written, 'write', { fd });
  return written;
}
