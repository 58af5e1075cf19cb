// Describes a descriptor: kind, flags, addresses. Node validates a descriptor it is given too late (FACTS N3), so callers
// ask here first.
import type { AddressInfo } from 'node:net';
import { systemError } from '../errors.js';
import { expectFd } from './arguments.js';
import { native, type RawAddress, type RawDescription } from './native.js';

export type FdKind = 'socket' | 'pipe' | 'file' | 'directory' | 'character' | 'block' | 'other';

/** An address: as Node's `server.address()` gives it, or a Unix path, or a name of the abstract namespace. */
export type SocketAddress = AddressInfo | { readonly path: string } | { readonly abstract: string };

export interface SocketDescription {
  readonly family: 'ipv4' | 'ipv6' | 'unix' | 'other';
  readonly type: 'stream' | 'dgram' | 'seqpacket' | 'other';
  readonly protocol: number;
  readonly listening: boolean;
  /** SO_COOKIE: the same in every process that holds a copy, and of no other socket. Linux only. */
  readonly cookie?: bigint;
  /** Absent for an unnamed Unix socket. */
  readonly local?: SocketAddress;
  readonly peer?: SocketAddress;
}

export interface FdDescription {
  readonly fd: number;
  readonly kind: FdKind;
  /** With `device`, what two descriptors of one open file have in common. */
  readonly inode: bigint;
  readonly device: bigint;
  readonly cloexec: boolean;
  readonly nonblocking: boolean;
  /** Present where `kind` is `'socket'`. */
  readonly socket?: SocketDescription;
}

const S_IFMT = 0o170000;
const KINDS = new Map<number, FdKind>([
  [0o140000, 'socket'],
  [0o010000, 'pipe'],
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o020000, 'character'],
  [0o060000, 'block'],
]);

/**
 * Describes a descriptor without changing it.
 * @throws EBADF it is not open
 * @example
 * ```ts
 * import { describeFd } from 'handover/fd';
 * if (!describeFd(3).socket?.listening) throw new Error('descriptor 3 is not a listener');
 * ```
 * @see fstat(2), getsockname(2), socket(7)
 */
export function describeFd(fd: number): FdDescription {
  const raw = native().describe(expectFd('fd', fd));
  if (typeof raw === 'number') throw systemError(raw, 'fstat', { fd });
  const { FD_CLOEXEC, O_NONBLOCK } = native().constants;
  return {
    fd,
    kind: KINDS.get(raw.mode & S_IFMT) ?? 'other',
    inode: raw.ino,
    device: raw.dev,
    cloexec: (raw.fdFlags & FD_CLOEXEC) !== 0,
    nonblocking: (raw.statusFlags & O_NONBLOCK) !== 0,
    ...(raw.socket && { socket: describeSocket(raw.socket) }),
  };
}

function describeSocket(raw: NonNullable<RawDescription['socket']>): SocketDescription {
  const { AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET } = native().constants;
  const families = new Map([
    [AF_INET, 'ipv4'],
    [AF_INET6, 'ipv6'],
    [AF_UNIX, 'unix'],
  ] as const);
  const types = new Map([
    [SOCK_STREAM, 'stream'],
    [SOCK_DGRAM, 'dgram'],
    [SOCK_SEQPACKET, 'seqpacket'],
  ] as const);
  const family = families.get(raw.family) ?? 'other';
  const local = raw.local && describeAddress(raw.local, family);
  const peer = raw.peer && describeAddress(raw.peer, family);
  return {
    family,
    type: types.get(raw.type) ?? 'other',
    protocol: raw.protocol,
    listening: raw.listening,
    ...(raw.cookie !== undefined && { cookie: raw.cookie }),
    ...(local && { local }),
    ...(peer && { peer }),
  };
}

function describeAddress(raw: RawAddress, family: string): SocketAddress | undefined {
  if ('host' in raw) {
    const address = raw.scopeId === 0 ? raw.host : `${raw.host}%${raw.scopeId}`;
    return { address, port: raw.port, family: family === 'ipv6' ? 'IPv6' : 'IPv4' };
  }
  if (raw.path.length === 0) return undefined;
  const text = Buffer.from(raw.path).toString();
  return raw.path[0] === 0 ? { abstract: text.slice(1) } : { path: text };
}
