// Descriptors across a Unix socket: sendmsg(2) and recvmsg(2) with SCM_RIGHTS, one message at a time.
import { constants } from 'node:os';
import { rangeError, type SystemError, systemError } from '../errors.js';
import {
  expectBytes,
  expectFd,
  expectFlag,
  expectInteger,
  expectMessageFds,
  expectOptions,
  expectPayload,
} from './arguments.js';
import { MAX_FDS_PER_MESSAGE, native, RECEIVED } from './native.js';

/** The sender of a message, as the kernel vouches for it. */
export interface SenderCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** One reception. */
export interface Received {
  /** The bytes read; empty at the end of the stream. */
  readonly bytes: Buffer;
  /** The descriptors that came with it, close-on-exec. They are yours to close. */
  readonly fds: Int32Array;
  /** Present where the receiving socket has SO_PASSCRED set. */
  readonly credentials?: SenderCredentials;
}

export interface SendOptions {
  /** Attach SCM_CREDENTIALS. Linux only. @default false */
  readonly credentials?: boolean;
}

export interface ReceiveOptions {
  /** Read at most this many bytes. @default 65536 */
  readonly maxBytes?: number;
  /** Read into this memory instead of a new Buffer; `bytes` is then a view of it. */
  readonly into?: Uint8Array;
}

const DEFAULT_READ_BYTES = 65_536;

// One reception at a time fills these, and it is copied out before the call returns: the event loop cannot interleave.
let scratchBytes: Buffer | undefined;
const NOTHING = new Uint8Array(0);
const scratchReceived = new Int32Array(RECEIVED.fds + MAX_FDS_PER_MESSAGE);

/**
 * Sends descriptors with the bytes they travel with, in one message.
 *
 * The descriptors are borrowed: they stay yours and open, and may be closed as soon as the call returns. When it throws,
 * none was sent. On a stream socket fewer bytes than given may be sent; the descriptors went with the first of them.
 * A blocking socket blocks the event loop.
 *
 * @returns the number of bytes sent
 * @throws RangeError no bytes, more than 253 descriptors, a negative one; TypeError another type
 * @throws EAGAIN the socket is non-blocking and full; EBADF one of `fds` is closed; ETOOMANYREFS more descriptors are
 *   in flight than RLIMIT_NOFILE admits (unix(7)); EPIPE the peer has closed
 * @throws ERR_HANDOVER_UNSUPPORTED there is no addon for this platform
 * @example
 * ```ts
 * import { sendFds } from 'handover/fd';
 * sendFds(socket, Buffer.from('log'), [1]);
 * ```
 * @see sendmsg(2), cmsg(3)
 */
export function sendFds(socket: number, bytes: Uint8Array, fds: ArrayLike<number>, options?: SendOptions): number {
  expectFd('socket', socket);
  expectPayload('bytes', bytes);
  const list = expectMessageFds('fds', fds);
  const given = options !== undefined ? expectOptions('options', options, ['credentials']) : {};
  const credentials = expectFlag('options.credentials', given.credentials);
  const sent = native().sendmsg(socket, bytes, list, list.length, credentials);
  if (sent < 0) throw systemError(sent, 'sendmsg', { fd: socket });
  return sent;
}

/**
 * Receives bytes and the descriptors that came with them.
 *
 * The descriptors are owned by the caller from here on, and close-on-exec. On a stream they come with the first byte of
 * the message that carried them, which may be read together with bytes sent earlier: let your framing say how many
 * belong to which message. Nothing is ever dropped quietly: a reception the kernel cut short closes what had come and
 * throws.
 *
 * @returns empty `bytes` at the end of the stream
 * @throws ENOBUFS control data was truncated (a full descriptor table: EMFILE is not reported by recvmsg(2)), and `bytes`
 *   of the error came with it; EMSGSIZE a packet was longer than `maxBytes`; EAGAIN nothing to read on a non-blocking socket
 * @throws RangeError, TypeError a bad argument; ERR_HANDOVER_UNSUPPORTED no addon for this platform
 * @example
 * ```ts
 * import { closeFds, recvFds } from 'handover/fd';
 * const { bytes, fds } = recvFds(socket);
 * closeFds(fds);
 * ```
 * @see recvmsg(2), unix(7)
 */
export function recvFds(socket: number, options?: ReceiveOptions): Received {
  expectFd('socket', socket);
  if (options === undefined) return receive(socket);
  const { maxBytes, into } = expectOptions('options', options, ['maxBytes', 'into']);
  if (into !== undefined) {
    const memory = expectBytes('options.into', into);
    if (memory.length === 0) throw rangeError('options.into.length', 'at least 1', 0);
    if (maxBytes === undefined) return receive(socket, memory);
    return receive(socket, memory.subarray(0, expectInteger('options.maxBytes', maxBytes, 1)));
  }
  if (maxBytes === undefined) return receive(socket);
  return receive(socket, Buffer.allocUnsafe(expectInteger('options.maxBytes', maxBytes, 1)));
}

function receive(socket: number, into?: Uint8Array): Received {
  const result = tryReceive(socket, into);
  if (typeof result === 'number') throw receiveError(result, socket, into);
  return result;
}

/** The error of {@link tryReceive}, to be made before the next call of it. */
export function receiveError(errno: number, socket: number, into: Uint8Array = scratchBytes ?? NOTHING): SystemError {
  const error = systemError(errno, 'recvmsg', { fd: socket });
  if (errno === -constants.errno.ENOBUFS) {
    error.bytes = Buffer.from(into.subarray(0, scratchReceived[RECEIVED.lostBytes] ?? 0));
  }
  return error;
}

/** As {@link recvFds} without the checks; a negative errno instead of a throw, for callers that expect EAGAIN. */
export function tryReceive(socket: number, into?: Uint8Array): Received | number {
  scratchBytes ??= Buffer.allocUnsafeSlow(DEFAULT_READ_BYTES);
  const read = native().recvmsg(socket, into ?? scratchBytes, scratchReceived);
  if (read < 0) return read;
  const fds = scratchReceived.slice(RECEIVED.fds, RECEIVED.fds + (scratchReceived[RECEIVED.count] ?? 0));
  const bytes = into ? Buffer.from(into.buffer, into.byteOffset, read) : Buffer.from(scratchBytes.subarray(0, read));
  if (scratchReceived[RECEIVED.hasCredentials] !== 1) return { bytes, fds };
  const [pid = -1, uid = -1, gid = -1] = scratchReceived.subarray(RECEIVED.pid, RECEIVED.fds);
  return { bytes, fds, credentials: { pid, uid, gid } };
}
