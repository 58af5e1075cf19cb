// Bytes for stderr, which never make this process wait: a log collector that has stalled, or a terminal after Ctrl-S, must
// not stop what is served (G5). Beside env.ts, as those who log lines need nothing else of it.
import { closeSync, constants, fstatSync, openSync, type Stats, writeSync } from 'node:fs';
import { hasCode } from '../errors.js';
import { canWriteNow, writeNow } from '../fd/write-now.js';

const STDERR = 2;
/** What waits for a reader that is slow, where the writer waits with more; at most, where it does not. */
const MAX_QUEUED_BYTES = 262_144;
const LIMIT_BYTES = 1_048_576;
/** Milliseconds after which a reader that took nothing counts as stalled: what comes then is lost, and counted. */
const STALL = 1_000;
/** Milliseconds between two tries: doubled until one succeeds. */
const MIN_DELAY = 1;
const MAX_DELAY = 50;
/** Milliseconds an ending process gives a slow reader, which it has as long as it takes something. */
const EXIT_PATIENCE = 500;

const queue: Uint8Array[] = [];
let queuedBytes = 0;
let lostBytes = 0;
let lastProgress = 0;
let delay = MIN_DELAY;
let isTrying = false;
const waiting: (() => void)[] = [];

/**
 * Writes as much as stderr takes, and the rest when it takes more. Never by an exception: what is said there must not end
 * this process. False: so much waits that whoever has more should await {@link stderrRoom} first.
 */
export function writeStderr(bytes: Uint8Array): boolean {
  // Never past what waits already.
  const written = queuedBytes > 0 ? 0 : writeSome(bytes);
  if (written < bytes.length) enqueue(bytes.subarray(written));
  return queuedBytes < MAX_QUEUED_BYTES;
}

/** Resolves when more fits, or when nobody seems to read any more: what does not fit is lost then. */
export async function stderrRoom(): Promise<void> {
  if (queuedBytes < MAX_QUEUED_BYTES || hasStalled()) return;
  await new Promise<void>((resolve) => waiting.push(resolve));
}

function hasStalled(): boolean {
  return performance.now() - lastProgress >= STALL;
}

function enqueue(bytes: Uint8Array): void {
  if (queuedBytes === 0) {
    lastProgress = performance.now();
    process.on('exit', flushAtExit);
  }
  const limit = hasStalled() ? MAX_QUEUED_BYTES : LIMIT_BYTES;
  const fitting = bytes.subarray(0, lostBytes > 0 ? 0 : Math.max(0, limit - queuedBytes));
  lostBytes += bytes.length - fitting.length;
  // A copy: the caller's memory is the caller's.
  if (fitting.length > 0) queue.push(Buffer.from(fitting));
  queuedBytes += fitting.length;
  tryAgainSoon();
}

function tryAgainSoon(): void {
  if (isTrying) return;
  isTrying = true;
  setTimeout(retry, delay).unref();
}

function retry(): void {
  isTrying = false;
  delay = flush() ? MIN_DELAY : Math.min(delay * 2, MAX_DELAY);
  if (queuedBytes > 0) tryAgainSoon();
  else process.off('exit', flushAtExit);
  if (queuedBytes < MAX_QUEUED_BYTES || hasStalled()) for (const resolve of waiting.splice(0)) resolve();
}

/** Whether anything went out. */
function flush(): boolean {
  let hasMoved = false;
  for (let first = queue[0]; first !== undefined; first = queue[0]) {
    const written = writeSome(first);
    queuedBytes -= written;
    hasMoved ||= written > 0;
    if (written === first.length) queue.shift();
    else queue[0] = first.subarray(written);
    if (written < first.length) break;
    if (queue.length === 0 && lostBytes > 0) noteLoss();
  }
  if (hasMoved) lastProgress = performance.now();
  return hasMoved;
}

/** In its place among what was written. */
function noteLoss(): void {
  const note = `\nhandover[${process.pid}]: ${lostBytes} bytes for stderr were lost here: nobody read it\n`;
  lostBytes = 0;
  enqueue(Buffer.from(note));
}

/** Nothing is served any more, and a reader that only is slow gets it all. */
function flushAtExit(): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let since = performance.now(); queuedBytes > 0 && performance.now() - since < EXIT_PATIENCE; ) {
    if (flush()) since = performance.now();
    else Atomics.wait(pause, 0, 0, MIN_DELAY);
  }
}

/** How much stderr took without waiting. What it will never take counts as taken. */
function writeSome(bytes: Uint8Array): number {
  let at = 0;
  try {
    // Lines of the app, in the queue of its stream.
    if (process.stderr.writableLength > 0) return 0;
    const stat = fstatSync(STDERR);
    const fd = isReopened(stat) ? reopen() : undefined;
    try {
      while (at < bytes.length) at += write(bytes.subarray(at), fd, stat);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  } catch (error) {
    // Closed, or nobody will ever read it.
    if (!hasCode(error, 'EAGAIN')) return bytes.length;
  }
  return at;
}

/**
 * O_NONBLOCK belongs to the open file description, which all who share stderr have in common and libuv sets and clears as
 * it likes: of a pipe and a terminal this process can have one of its own.
 */
function isReopened(stat: Stats): boolean {
  return process.platform === 'linux' && (stat.isFIFO() || stat.isCharacterDevice());
}

/** Undefined where it may not be opened: it may be another user's, whose process passed it along. */
function reopen(): number | undefined {
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
    return openSync('/proc/self/fd/2', O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch (error) {
    // A pipe nobody reads from.
    if (hasCode(error, 'ENXIO')) throw error;
    return undefined;
  }
}

function write(bytes: Uint8Array, own: number | undefined, stat: Stats): number {
  if (own !== undefined) return writeSync(own, bytes);
  // A disk takes what it is given.
  if (stat.isFile() || !canWriteNow()) return writeSync(STDERR, bytes);
  return writeNow(STDERR, bytes);
}
