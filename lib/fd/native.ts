// The addon's typed contract, and its only loader. Ints and bytes in, ints out: every call that can fail returns a
// negative errno; names, messages and policy belong to the files above.
import { resolve } from 'node:path';
import { HandoverError, toError } from '../errors.js';
import { packageFile, packageLack, packageRoot, requireFrom } from './package.js';

/** How many descriptors one message carries at most: SCM_MAX_FD of the Linux kernel (unix(7)). */
export const MAX_FDS_PER_MESSAGE = 253;

/** Index of each field `recvmsg` fills in, and of the first received descriptor. */
export const RECEIVED = { count: 0, hasCredentials: 1, pid: 2, uid: 3, gid: 4, fds: 5, lostBytes: 2 } as const;

/** Events of a poller, as in uv.h. */
export const READABLE = 1;
export const WRITABLE = 2;

/** A socket address as the kernel reports it. */
export type RawAddress =
  | { readonly host: string; readonly port: number; readonly scopeId: number }
  /** Without the terminating NUL; empty: unnamed; first byte 0: abstract. */
  | { readonly path: Uint8Array };

/** One descriptor as fstat(2), fcntl(2) and getsockopt(2) describe it; the socket fields only for a socket. */
export interface RawDescription {
  readonly mode: number;
  readonly dev: bigint;
  readonly ino: bigint;
  /** F_GETFL. */
  readonly statusFlags: number;
  /** F_GETFD. */
  readonly fdFlags: number;
  readonly socket?: {
    readonly family: number;
    readonly type: number;
    readonly protocol: number;
    readonly listening: boolean;
    /** SO_COOKIE, where the kernel has it. */
    readonly cookie?: bigint;
    readonly local?: RawAddress;
    readonly peer?: RawAddress;
  };
}

/** An armed or idle uv_poll_t. Closing it takes the descriptor out of the loop; it never closes the descriptor. */
export interface Poller {
  /** -EBADF: the poller is closed, or other code closed the descriptor, also where its number is in use again. */
  start(events: number): number;
  stop(): void;
  close(): void;
  ref(): void;
  unref(): void;
}

/** The addon. A parameter called `fd` or `socket` is borrowed; a descriptor returned is the caller's, close-on-exec. */
export interface Native {
  readonly flavor: 'linux' | 'portable';
  readonly constants: {
    readonly AF_UNIX: number;
    readonly AF_INET: number;
    readonly AF_INET6: number;
    readonly SOCK_STREAM: number;
    readonly SOCK_DGRAM: number;
    readonly SOCK_SEQPACKET: number;
    readonly SOL_SOCKET: number;
    readonly SO_REUSEADDR: number;
    readonly SO_REUSEPORT: number;
    readonly IPPROTO_IPV6: number;
    readonly IPV6_V6ONLY: number;
    readonly O_NONBLOCK: number;
    readonly FD_CLOEXEC: number;
    /** Where the platform has SCM_CREDENTIALS: the option that makes `recvmsg` report them. */
    readonly SO_PASSCRED?: number;
  };

  /**
   * sendmsg(2), MSG_NOSIGNAL. Sends `fds[0..fdCount)`; `credentials` attaches SCM_CREDENTIALS (-ENOTSUP where there are
   * none). Returns bytes sent. -EINVAL: no bytes, or more than {@link MAX_FDS_PER_MESSAGE} descriptors.
   */
  sendmsg(socket: number, bytes: Uint8Array, fds: Int32Array, fdCount: number, credentials: boolean): number;
  /**
   * recvmsg(2), descriptors close-on-exec. `received` is laid out by {@link RECEIVED} and holds 5 + 253 ints. Returns
   * bytes read (0: end of stream). -ENOBUFS: control data was cut, and `lostBytes` are in `into` all the same;
   * -EMSGSIZE: the bytes of a packet were cut; -EBADMSG: descriptors came without a byte. In these cases every descriptor
   * received has been closed.
   */
  recvmsg(socket: number, into: Uint8Array, received: Int32Array): number;

  socket(family: number, type: number, protocol: number): number;
  socketpair(type: number, out: Int32Array): number;
  bindIp(fd: number, family: number, host: string, port: number): number;
  /** First byte 0: an abstract name. */
  bindUnix(fd: number, path: Uint8Array): number;
  connectUnix(fd: number, path: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  accept(listener: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array): number;
  /** Returns the length of the value. */
  getsockopt(fd: number, level: number, name: number, out: Uint8Array): number;

  dup3(from: number, to: number, cloexec: boolean): number;
  /** F_DUPFD_CLOEXEC: the lowest free number that is at least `minimum`. */
  dupMin(fd: number, minimum: number): number;
  getCloexec(fd: number): number;
  setCloexec(fd: number, on: boolean): number;
  setNonblocking(fd: number, on: boolean): number;
  /** flock(2), never waiting: -EAGAIN where another open file description holds the lock; not exclusive gives it back. */
  flock(fd: number, exclusive: boolean): number;
  /**
   * write(2) that does not wait, also where O_NONBLOCK is not set: send(2) with MSG_DONTWAIT to a socket, elsewhere at most
   * PIPE_BUF bytes where poll(2) says that there is room. Returns bytes written; -EAGAIN.
   */
  writeNow(fd: number, bytes: Uint8Array): number;
  /** Never retried on EINTR: Linux has released the number by then. */
  close(fd: number): number;
  /** Closes `fds[0..count)`, all of them; returns the first error met. */
  closeMany(fds: Int32Array, count: number): number;

  describe(fd: number): RawDescription | number;
  /**
   * SO_PEERCRED (getpeereid elsewhere): pid, uid, gid into `out`; -1 for what the platform does not tell. -ENOTCONN: the
   * socket has no peer.
   */
  peerCredentials(socket: number, out: Int32Array): number;
  /** SO_PEERPIDFD; -ENOSYS or -ENOPROTOOPT where the kernel has none. */
  peerPidfd(socket: number): number;
  /** pidfd_open(2); -ENOSYS where there is none. The pidfd is readable once the process has ended. */
  pidfdOpen(pid: number): number;
  /** pidfd_send_signal(2). */
  pidfdSignal(pidfd: number, signal: number): number;
  /** waitpid(2), WNOHANG: the pid of an ended child, which is gone then; 0: it has not ended. */
  reap(pid: number): number;
  /** A read-only blob: memfd with every seal on Linux, an unlinked temporary file elsewhere. */
  sealedBlob(name: string, bytes: Uint8Array): number;
  /** A file in memory, without a name and open for writing: memfd_create(2). -ENOSYS where there is none. */
  sharedFile(name: string): number;
  /** The same file with an open file description of its own, read and write; -ENOENT without a /proc. */
  reopen(fd: number): number;
  /**
   * F_OFD_SETLK (fcntl(2)), never waiting: -EAGAIN where another open file description has a byte of it. `length` 0: to the
   * end, however far; not exclusive gives back.
   */
  lockRange(fd: number, start: number, length: number, exclusive: boolean): number;

  /**
   * `callback(status, events)` runs from the loop of the calling environment. A negative status (-EBADF, whatever the
   * kernel saw) means that libuv has stopped the poller, for instance because the peer closed with bytes of ours unread:
   * read on until `recvmsg` tells why. With `ownsFd` the descriptor is closed with its environment, for instance a worker
   * thread that is terminated, unless the poller was closed before.
   */
  openPoller(fd: number, callback: (status: number, events: number) => void, ownsFd?: boolean): Poller | number;
}

let loaded: { readonly native: Native | undefined; readonly cause: unknown; readonly why: string } | undefined;

/** Every function of the addon, in the order of {@link Native}. */
const FUNCTIONS: Readonly<Record<Exclude<keyof Native, 'flavor' | 'constants'>, true>> = {
  sendmsg: true,
  recvmsg: true,
  socket: true,
  socketpair: true,
  bindIp: true,
  bindUnix: true,
  connectUnix: true,
  listen: true,
  accept: true,
  setsockopt: true,
  getsockopt: true,
  dup3: true,
  dupMin: true,
  getCloexec: true,
  setCloexec: true,
  setNonblocking: true,
  flock: true,
  writeNow: true,
  close: true,
  closeMany: true,
  describe: true,
  peerCredentials: true,
  peerPidfd: true,
  pidfdOpen: true,
  pidfdSignal: true,
  reap: true,
  sealedBlob: true,
  sharedFile: true,
  reopen: true,
  lockRange: true,
  openPoller: true,
};
type RequiredConstant = Exclude<keyof Native['constants'], 'SO_PASSCRED'>;
const CONSTANTS: Readonly<Record<RequiredConstant, true>> = {
  AF_UNIX: true,
  AF_INET: true,
  AF_INET6: true,
  SOCK_STREAM: true,
  SOCK_DGRAM: true,
  SOCK_SEQPACKET: true,
  SOL_SOCKET: true,
  SO_REUSEADDR: true,
  SO_REUSEPORT: true,
  IPPROTO_IPV6: true,
  IPV6_V6ONLY: true,
  O_NONBLOCK: true,
  FD_CLOEXEC: true,
};

/**
 * What a binding table lacks of {@link Native}: one that was compiled from older sources, say by a `build/` that stayed, loads as
 * well as another, and would fail at the first call of what it lacks, amid a handover.
 */
export function lackOf(table: unknown): string | undefined {
  const { constants, ...functions } = { ...(table as Partial<Native> | undefined) } as Record<string, unknown>;
  const numbers = { ...(constants as object | undefined) } as Record<string, unknown>;
  const lacks = [
    ...Object.keys(FUNCTIONS).filter((name) => typeof functions[name] !== 'function'),
    ...Object.keys(CONSTANTS).filter((name) => typeof numbers[name] !== 'number'),
  ];
  return lacks.length === 0 ? undefined : lacks.join(', ');
}

function load(): NonNullable<typeof loaded> {
  let file: string | undefined;
  try {
    const load = requireFrom(packageFile('package.json'));
    const locate = load('node-gyp-build') as { path(root: string): string };
    // Resolved, because HANDOVER_PREBUILD may be relative to the working directory.
    file = resolve(locate.path(packageFile('')));
    const table: unknown = load(file);
    const lack = lackOf(table);
    if (lack !== undefined) throw new Error(`it was made from other sources and lacks ${lack}`);
    return { native: table as Native, cause: undefined, why: '' };
  } catch (cause) {
    return { native: undefined, cause, why: whyNotLoaded(file, cause) };
  }
}

function whyNotLoaded(file: string | undefined, cause: unknown): string {
  if (packageRoot() === undefined) return packageLack();
  if (file === undefined) return 'there is no prebuilt file and none was compiled (npx handover build)';
  return `${file} does not load: ${toError(cause).message} (npx handover build)`;
}

/** True where the addon is there: without it `serve()` listens plainly and everything else is refused. */
export function isSupported(): boolean {
  loaded ??= load();
  return loaded.native !== undefined;
}

/** @throws ERR_HANDOVER_UNSUPPORTED as every call here would */
export function expectSupported(): void {
  native();
}

/** The addon, loaded on first use. @throws ERR_HANDOVER_UNSUPPORTED with the loader's error as its cause. */
export function native(): Native {
  loaded ??= load();
  if (loaded.native) return loaded.native;
  const message = `no addon for ${process.platform}-${process.arch}: ${loaded.why}`;
  throw new HandoverError('ERR_HANDOVER_UNSUPPORTED', message, { cause: loaded.cause, stillServing: true });
}
