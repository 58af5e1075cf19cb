// Single descriptors: duplicate, flag, close; and the process at the other end of a Unix socket.
import { systemError } from '../errors.js';
import {
  expectBoolean,
  expectBytes,
  expectFd,
  expectFds,
  expectFlag,
  expectOneOf,
  expectOptions,
  expectString,
} from './arguments.js';
import { native } from './native.js';
import { expectNotOwned } from './owned.js';

function checked(result: number, syscall: string, fd?: number): number {
  if (result < 0) throw systemError(result, syscall, { fd });
  return result;
}

/**
 * Creates two connected Unix sockets, close-on-exec and non-blocking. Both are yours.
 * @param type @default 'stream'
 * @throws EMFILE, ENFILE the descriptor table is full
 * @see socketpair(2)
 */
export function socketpair(type: 'stream' | 'dgram' | 'seqpacket' = 'stream'): [number, number] {
  expectOneOf('type', type, ['stream', 'dgram', 'seqpacket']);
  const { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET } = native().constants;
  const out = new Int32Array(2);
  const number = { stream: SOCK_STREAM, dgram: SOCK_DGRAM, seqpacket: SOCK_SEQPACKET }[type];
  checked(native().socketpair(number, out), 'socketpair');
  const [left = -1, right = -1] = out;
  setNonblocking(left);
  setNonblocking(right);
  return [left, right];
}

/**
 * Makes `to` a copy of `from`; the file that `to` named before is closed in the same atomic step.
 * @param cloexec close-on-exec of `to` @default true
 * @returns `to`, which is yours
 * @throws EBADF `from` is closed; EINVAL both are the same; EBADF `to` is beyond RLIMIT_NOFILE; ERR_INVALID_STATE `to`
 *   belongs to an FdSocket
 * @see dup3(2)
 */
export function dup3(from: number, to: number, cloexec: boolean = true): number {
  expectFd('from', from);
  expectFd('to', to);
  expectNotOwned([to]);
  return checked(native().dup3(from, to, expectBoolean('cloexec', cloexec)), 'dup3', from);
}

/**
 * Duplicates a descriptor to the lowest free number that is at least `minimum`, close-on-exec. The copy is yours; offset,
 * O_NONBLOCK and socket options are shared with the original.
 * @throws EBADF it is closed; EMFILE the table is full; EINVAL `minimum` is beyond RLIMIT_NOFILE
 * @see fcntl(2), F_DUPFD_CLOEXEC
 */
export function dupFd(fd: number, minimum: number = 0): number {
  return checked(native().dupMin(expectFd('fd', fd), expectFd('minimum', minimum)), 'fcntl', fd);
}

/**
 * Closes one descriptor. Never one that libuv has in its loop: close that one's handle instead.
 * @throws EBADF it is not open; ERR_INVALID_STATE it belongs to an FdSocket, and stays open. After any other error it is
 *   closed all the same (close(2)).
 */
export function closeFd(fd: number): void {
  expectNotOwned([expectFd('fd', fd)]);
  checked(native().close(fd), 'close', fd);
}

// V8 keeps a typed array of at most 64 bytes inside its heap, and gives it an ArrayBuffer and a malloc of its own as soon
// as an addon looks at it: 0.3 us of the 4.9 it takes to send, receive and close one descriptor. So few are copied.
const MAX_HEAP_INTS = 16;
const fewToClose = new Int32Array(MAX_HEAP_INTS + 1);

/**
 * Closes many in one call: every one of them, also where one fails.
 * @throws the first error met, for example EBADF; ERR_INVALID_STATE one belongs to an FdSocket: then none is closed
 */
export function closeFds(fds: ArrayLike<number>): void {
  const list = expectFds('fds', fds);
  expectNotOwned(list);
  const { length } = list;
  if (length > MAX_HEAP_INTS) {
    checked(native().closeMany(list, length), 'close');
    return;
  }
  for (let i = 0; i < length; i++) fewToClose[i] = list[i] ?? -1;
  checked(native().closeMany(fewToClose, length), 'close');
}

/** Says whether the descriptor is closed on execve(2). @throws EBADF @see fcntl(2), FD_CLOEXEC */
export function getCloexec(fd: number): boolean {
  return checked(native().getCloexec(expectFd('fd', fd)), 'fcntl', fd) === 1;
}

/** Sets whether the descriptor is closed on execve(2). @throws EBADF @see fcntl(2), FD_CLOEXEC */
export function setCloexec(fd: number, on: boolean = true): void {
  checked(native().setCloexec(expectFd('fd', fd), expectBoolean('on', on)), 'fcntl', fd);
}

/**
 * Sets O_NONBLOCK. It belongs to the open file description: every process that holds a copy is affected.
 * @throws EBADF
 * @see fcntl(2)
 */
export function setNonblocking(fd: number, on: boolean = true): void {
  checked(native().setNonblocking(expectFd('fd', fd), expectBoolean('on', on)), 'fcntl', fd);
}

/** The process that called connect(2), listen(2) or socketpair(2) for the other end; it may have died since. */
export interface PeerCredentials {
  /** Undefined where the peer lives in a pid namespace this process cannot see, or the platform does not tell. */
  readonly pid: number | undefined;
  readonly uid: number;
  readonly gid: number;
  /** A pidfd of that process, on request and where the kernel has SO_PEERPIDFD (Linux 6.5). It is yours to close. */
  readonly pidfd?: number;
}

/**
 * Tells which process is at the other end of a connected Unix stream socket, as the kernel vouches for it.
 * @param options `pidfd: true` asks for a pidfd too; it is absent where the kernel has none
 * @throws EBADF, ENOTSOCK; ENOTCONN where the platform refuses an unconnected socket
 * @see unix(7), SO_PEERCRED
 */
export function peerCredentials(socket: number, options?: { readonly pidfd?: boolean }): PeerCredentials {
  expectFd('socket', socket);
  const given = options !== undefined ? expectOptions('options', options, ['pidfd']) : {};
  const wantsPidfd = expectFlag('options.pidfd', given.pidfd);
  const out = new Int32Array(3);
  checked(native().peerCredentials(socket, out), 'getsockopt', socket);
  const [pid = -1, uid = -1, gid = -1] = out;
  const credentials = { pid: pid < 0 ? undefined : pid, uid, gid };
  if (!wantsPidfd) return credentials;
  const pidfd = native().peerPidfd(socket);
  return pidfd < 0 ? credentials : { ...credentials, pidfd };
}

/**
 * Puts bytes into an anonymous file that no process can change: a memfd with every seal on Linux, an unlinked temporary
 * file elsewhere.
 * @returns a read-only descriptor that is yours
 * @see memfd_create(2), F_ADD_SEALS
 */
export function sealedBlob(name: string, bytes: Uint8Array): number {
  return checked(native().sealedBlob(expectString('name', name), expectBytes('bytes', bytes)), 'memfd_create');
}

/** Whether the bytes of a blob never touch a disk; without memfd_create(2) they are in a file without a name. */
export function staysInMemory(): boolean {
  return native().flavor === 'linux';
}
