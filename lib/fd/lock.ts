// A lock file: held as long as its descriptor is open, so that it ends with the process (flock(2)).
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { systemError } from '../errors.js';
import { native } from './native.js';

const { EAGAIN } = constants.errno;

/**
 * Takes the lock if nobody has it. The file stays: removing it would let two hold "the" lock.
 * @returns what gives it back; undefined where another process has it
 */
export function tryLock(path: string): (() => void) | undefined {
  const fd = openSync(path, 'a', 0o600);
  const result = native().flock(fd, true);
  if (result === 0) return () => closeSync(fd);
  closeSync(fd);
  if (result === -EAGAIN) return undefined;
  throw systemError(result, 'flock', { path });
}
