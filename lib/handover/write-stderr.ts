// Bytes for stderr, whatever it is and however full. Beside env.ts, as those who log lines need nothing else of it.
import { writeSync } from 'node:fs';
import { hasCode } from '../errors.js';

/**
 * Never by an exception: process.stderr would raise EPIPE as an 'error' nobody handles, and what is said there
 * must not end this process.
 */
export function writeStderr(bytes: Uint8Array): void {
  let at = 0;
  try {
    // Never past what waits already.
    if (process.stderr.writableLength > 0) queueStderr(bytes);
    else while (at < bytes.length) at += writeSync(process.stderr.fd, bytes, at);
  } catch (error) {
    // A full pipe: the stream waits for it.
    if (hasCode(error, 'EAGAIN')) queueStderr(bytes.subarray(at));
  }
}

const ignore = (): void => {};

/** While something waits, an 'error' of the stream is taken from it: it comes after the callback. */
function queueStderr(bytes: Uint8Array): void {
  const { stderr } = process;
  if (!stderr.listeners('error').includes(ignore)) stderr.on('error', ignore);
  stderr.write(bytes, () =>
    setImmediate(() => {
      if (stderr.writableLength === 0) stderr.off('error', ignore);
    }),
  );
}
