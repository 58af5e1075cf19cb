// Decides what became of a request: the one place where a failure gets its name.

/**
 * @typedef {{ path: string, status: number, length: number, sha256: string }} Expected What the right answer looks like.
 * @typedef {{ kind: FailureKind, detail: string }} Failure
 * @typedef {keyof typeof failureKinds} FailureKind
 */

/** Every way to fail, with its meaning. */
export const failureKinds = {
  refused: 'no connection could be made',
  reset: 'the connection was reset before the answer was whole',
  earlyClose: 'the connection was closed before the head of the answer was whole',
  short: 'the body is shorter than promised or expected',
  wrongBody: 'the answer is not the expected one, or not HTTP',
  status: 'the status is not the expected one',
  unanswered: 'no whole answer before the deadline',
  unasked: 'bytes arrived that no request had asked for',
};

/**
 * Judges a response that is complete or malformed.
 * @param {import('./response.mjs').ResponseReader} reader
 * @param {Expected} expected
 * @returns {Failure | undefined} undefined: it is the right answer, whole.
 */
export function judgeResponse(reader, expected) {
  // The status first: Node's own 400 and 408 have no Content-Length.
  if (reader.status !== 0 && reader.status !== expected.status) {
    return { kind: 'status', detail: `status ${reader.status} instead of ${expected.status}` };
  }
  if (reader.state === 'malformed') return { kind: 'wrongBody', detail: `malformed: ${reader.complaint}` };
  if (reader.length < expected.length) {
    return { kind: 'short', detail: `${reader.length} bytes announced and sent instead of ${expected.length}` };
  }
  if (reader.length > expected.length) {
    return { kind: 'wrongBody', detail: `${reader.length} bytes instead of ${expected.length}` };
  }
  if (reader.digest() !== expected.sha256) return { kind: 'wrongBody', detail: 'sha-256 differs' };
  if (reader.surplusBytes > 0) {
    return { kind: 'unasked', detail: `${reader.surplusBytes} bytes after the end of the answer` };
  }
  return undefined;
}

/**
 * Judges a request whose connection ended under it.
 * @param {import('./response.mjs').ResponseReader} reader
 * @param {boolean} connected
 * @param {NodeJS.ErrnoException} [error] undefined: a FIN.
 * @returns {Failure}
 */
export function judgeEnd(reader, connected, error) {
  const progress = `after ${reader.receivedBytes} bytes`;
  if (error !== undefined) {
    const code = error.code ?? error.message;
    if (code === 'ETIMEDOUT') return { kind: 'unanswered', detail: code };
    if (!connected && code !== 'ECONNRESET') return { kind: 'refused', detail: code };
    return { kind: 'reset', detail: `${code} ${progress}` };
  }
  if (reader.state === 'body') {
    return { kind: 'short', detail: `closed with ${reader.bodyBytes} of ${reader.length} bytes of the body sent` };
  }
  return { kind: 'earlyClose', detail: `closed ${progress}` };
}

/**
 * Judges a request that ran into its deadline.
 * @param {import('./response.mjs').ResponseReader} reader
 * @param {number} deadline
 * @returns {Failure}
 */
export function judgeDeadline(reader, deadline) {
  return { kind: 'unanswered', detail: `${reader.receivedBytes} bytes in ${deadline} ms` };
}
