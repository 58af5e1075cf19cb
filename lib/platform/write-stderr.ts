// Writes to stderr without ever blocking this process: a stalled log collector, or a terminal after Ctrl-S, must not stop the
// server (G5). It is no part of env.ts, because loggers need nothing else of that file.
import { closeSync, constants, fstatSync, openSync, type Stats, writeSync } from 'node:fs';
import { hasCode } from '../errors.js';
import { canWriteNow, writeNow } from '../fd/write-now.js';

const STDERR = 2;
/** Bytes in the queue from which `writeStderr` asks the caller to wait, and the limit for callers that do not wait. */
const MAX_QUEUED_BYTES = 262_144;
const LIMIT_BYTES = 1_048_576;
/** Milliseconds after which a reader that took nothing counts as stalled: further bytes are then dropped and counted. */
const STALL = 1_000;
/** Milliseconds between two tries: the delay doubles until a try succeeds. */
const MIN_DELAY = 1;
const MAX_DELAY = 50;
/** Milliseconds that an ending process waits for a reader that takes nothing. */
const EXIT_PATIENCE = 500;

const queue: Uint8Array[] = [];
let queuedBytes = 0;
let lostBytes = 0;
let lastProgress = 0;
let delay = MIN_DELAY;
let isTrying = false;
const waiting: (() => void)[] = [];

/**
 * Writes as much as stderr takes now, and queues the rest. Never throws: a failed log line must not end this process. False: the
 * queue is long, and the caller should await {@link stderrRoom} before it writes more.
 */
export function writeStderr(bytes: Uint8Array): boolean {
  // Bytes in the queue go first.
  const written = queuedBytes > 0 ? 0 : writeSome(bytes);
  if (written < bytes.length) enqueue(bytes.subarray(written));
  return queuedBytes < MAX_QUEUED_BYTES;
}

/** Resolves when the queue has room, or its reader has stalled: bytes beyond the limit are then dropped. */
export async function stderrRoom(): Promise<void> {
  if (queuedBytes < MAX_QUEUED_BYTES || hasStalled()) return;
  await new Promise<void>((resolve) => waiting.push(resolve));
}

/** On a busy machine it may be this process that had no turn for so long: what counts is whether the reader took something. */
function hasStalled(): boolean {
  return performance.now() - lastProgress >= STALL && !flush();
}

function enqueue(bytes: Uint8Array): void {
  if (queuedBytes === 0) lastProgress = performance.now();
  if (!isTrying) process.on('exit', flushAtExit);
  const limit = hasStalled() ? MAX_QUEUED_BYTES : LIMIT_BYTES;
  const fitting = bytes.subarray(0, lostBytes > 0 ? 0 : Math.max(0, limit - queuedBytes));
  lostBytes += bytes.length - fitting.length;
  // The queue keeps a copy, because the caller may reuse its memory.
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
  delay = flush() ? MIN_DELAY : Math.min(delay * 2, MAX_DELAY);
  isTrying = false;
  if (queuedBytes > 0) tryAgainSoon();
  else process.off('exit', flushAtExit);
  if (queuedBytes < MAX_QUEUED_BYTES || hasStalled()) for (const resolve of waiting.splice(0)) resolve();
}

/** Writes from the queue. True: stderr took at least one byte. */
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

/** Queues a note about lost bytes, at the place in the output where they are missing. */
function noteLoss(): void {
  const note = `\nhandover[${process.pid}]: ${lostBytes} bytes for stderr were lost here: its reader had stalled\n`;
  lostBytes = 0;
  enqueue(Buffer.from(note));
}

/** Writes the queue at the exit. It blocks, because nothing is served any more, and gives up on a stalled reader. */
function flushAtExit(): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let since = performance.now(); queuedBytes > 0; ) {
    if (flush()) since = performance.now();
    else if (performance.now() - since >= EXIT_PATIENCE) return;
    else Atomics.wait(pause, 0, 0, MIN_DELAY);
  }
}

/** Number of bytes that stderr took without blocking. Where stderr is closed or has no reader, all bytes count as taken. */
function writeSome(bytes: Uint8Array): number {
  let at = 0;
  try {
    // The app's own lines wait in the stream's queue, and go first.
    if (process.stderr.writableLength > 0) return 0;
    const stat = fstatSync(STDERR);
    const fd = isReopened(stat) ? reopen() : undefined;
    try {
      while (at < bytes.length) at += write(bytes.subarray(at), fd, stat);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  } catch (error) {
    // Stderr is closed, or its pipe has no reader and never will have.
    if (!hasCode(error, 'EAGAIN')) return bytes.length;
  }
  return at;
}

/**
 * Whether to write through an open file description of this process' own. O_NONBLOCK belongs to the description, which all
 * processes with this stderr share, and libuv sets and clears it (FACTS P7). A pipe and a terminal can be opened again.
 */
function isReopened(stat: Stats): boolean {
  return process.platform === 'linux' && (stat.isFIFO() || stat.isCharacterDevice());
}

/** Opens stderr again. Undefined where open(2) is refused, for example because the file belongs to another user. */
function reopen(): number | undefined {
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
    return openSync('/proc/self/fd/2', O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch (error) {
    // ENXIO: the pipe has no reader.
    if (hasCode(error, 'ENXIO')) throw error;
    return undefined;
  }
}

function write(bytes: Uint8Array, own: number | undefined, stat: Stats): number {
  if (own !== undefined) return writeSync(own, bytes);
  // A regular file never makes write(2) wait for a reader.
  if (stat.isFile() || !canWriteNow()) return writeSync(STDERR, bytes);
  return writeNow(STDERR, bytes);
}
