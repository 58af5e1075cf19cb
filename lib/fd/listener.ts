// Creating listeners: TCP, Unix paths, abstract names, and bound UDP sockets, with every option set before bind(2).
import { chmodSync, fchmodSync, lchownSync, lstatSync, unlinkSync } from 'node:fs';
import { isIP } from 'node:net';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { HandoverError, hasCode, rangeError, type SystemErrorDetails, systemError, typeError } from '../errors.js';
import { expectBoolean, expectBytes, expectInteger, expectOneOf, expectOptions, expectString } from './arguments.js';
import { setNonblocking } from './descriptors.js';
import { native } from './native.js';
import { unsafety } from './safe-files.js';

/** A socket option set before bind(2); a number is passed as a C int. */
export interface RawSocketOption {
  readonly level: number;
  readonly name: number;
  readonly value: number | Uint8Array;
}

interface CommonOptions {
  /** Length asked of the accept queue; the kernel caps it at somaxconn. @default 511 */
  readonly backlog?: number;
  /** Options with no name here, in order, before bind(2). */
  readonly socketOptions?: readonly RawSocketOption[];
}

/** Options of another kind of address, refused. */
type Not<K extends string> = { readonly [_ in K]?: never };
type IpOnly = 'protocol' | 'port' | 'host' | 'ipv6Only' | 'reuseAddr' | 'reusePort';
type UnixOnly = 'path' | 'mode' | 'uid' | 'gid';

/** A TCP listener, or a bound UDP socket. */
export interface IpListenerOptions extends CommonOptions, Not<UnixOnly | 'abstract'> {
  /** @default 'tcp' */
  readonly protocol?: 'tcp' | 'udp';
  /** 0 to 65535; 0 lets the kernel choose: ask `describeFd`. */
  readonly port: number;
  /** An IP literal, `fe80::1%eth0` included. @default '::', both families; '0.0.0.0' where there is no IPv6 */
  readonly host?: string;
  /** Refuse IPv4 on an IPv6 socket. @default false */
  readonly ipv6Only?: boolean;
  /** SO_REUSEADDR. @default true for TCP, false for UDP, where it would let a stranger share the port */
  readonly reuseAddr?: boolean;
  /** SO_REUSEPORT: several sockets share the port. Closing one resets what waits in its queue (FACTS K12). @default false */
  readonly reusePort?: boolean;
}

/** A listener at a path. bind(2) makes the file; you remove it. */
export interface UnixListenerOptions extends CommonOptions, Not<IpOnly | 'abstract'> {
  /** At most 107 bytes on Linux. An existing file is EADDRINUSE, also a stale one. */
  readonly path: string;
  /**
   * Permissions, set before the first connection can be made, and never wider on the way there. Needs a directory that no
   * other user can write to, or a sticky one such as /tmp. @default the socket's mode less the umask
   */
  readonly mode?: number;
  /** Owner, set with `gid`; of the directory as with `mode`. */
  readonly uid?: number;
  readonly gid?: number;
}

/** A listener with a name in Linux' abstract namespace: no file, no permissions; it ends with its last descriptor. */
export interface AbstractListenerOptions extends CommonOptions, Not<IpOnly | UnixOnly> {
  readonly abstract: string;
}

export type BindListenerOptions = IpListenerOptions | UnixListenerOptions | AbstractListenerOptions;

const COMMON = ['backlog', 'socketOptions'];
const IP_OPTIONS = ['protocol', 'port', 'host', 'ipv6Only', 'reuseAddr', 'reusePort', ...COMMON];
const UNIX_OPTIONS = ['path', 'mode', 'uid', 'gid', ...COMMON];
const ABSTRACT_OPTIONS = ['abstract', ...COMMON];
/** As Node's; the kernel lowers it to net.core.somaxconn. */
export const DEFAULT_BACKLOG = 511;

/**
 * Creates a socket, binds it, and (unless UDP) listens. It is close-on-exec and non-blocking from birth.
 * @returns the descriptor, which is yours; when it throws, nothing is left open and no file is left behind
 * @throws EADDRINUSE, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, ENAMETOOLONG … with `syscall` and the address
 * @throws ERR_HANDOVER_UNSAFE_DIRECTORY `mode`, `uid` or `gid` for a path that other users can exchange meanwhile
 * @throws TypeError, RangeError a bad or unknown option, named
 * @example
 * ```ts
 * import { bindListener } from 'handover/fd';
 * const fd = bindListener({ port: 8080, reusePort: true });
 * ```
 * @see bind(2), listen(2), ip(7), ipv6(7), unix(7)
 */
export function bindListener(options: BindListenerOptions): number {
  const given = expectOptions('options', options, [...new Set([...IP_OPTIONS, ...UNIX_OPTIONS, ...ABSTRACT_OPTIONS])]);
  if (given.path !== undefined) return bindUnix(checkUnix(expectOptions('options', options, UNIX_OPTIONS)));
  if (given.abstract !== undefined)
    return bindAbstract(checkAbstract(expectOptions('options', options, ABSTRACT_OPTIONS)));
  return bindIp(checkIp(expectOptions('options', options, IP_OPTIONS)));
}

function checkIp(given: Record<string, unknown>): IpListenerOptions {
  expectInteger('options.port', given.port, 0, 65_535);
  checkCommon(given);
  if (given.protocol !== undefined) expectOneOf('options.protocol', given.protocol, ['tcp', 'udp']);
  for (const flag of ['ipv6Only', 'reuseAddr', 'reusePort']) {
    if (given[flag] !== undefined) expectBoolean(`options.${flag}`, given[flag]);
  }
  if (given.host !== undefined && isIP(expectString('options.host', given.host)) === 0) {
    throw typeError('options.host', 'an IP address (resolve names first)', given.host);
  }
  return given as unknown as IpListenerOptions;
}

function checkUnix(given: Record<string, unknown>): UnixListenerOptions {
  checkCommon(given);
  if (expectString('options.path', given.path).includes('\0')) {
    throw typeError('options.path', 'a path without NUL (see options.abstract)', given.path);
  }
  if (given.mode !== undefined) expectInteger('options.mode', given.mode, 0, 0o777);
  if ((given.uid === undefined) !== (given.gid === undefined)) {
    throw typeError('options.uid', 'given together with options.gid', given.uid);
  }
  if (given.uid !== undefined) expectInteger('options.uid', given.uid, 0);
  if (given.gid !== undefined) expectInteger('options.gid', given.gid, 0);
  return given as unknown as UnixListenerOptions;
}

function checkAbstract(given: Record<string, unknown>): AbstractListenerOptions {
  checkCommon(given);
  expectString('options.abstract', given.abstract);
  return given as unknown as AbstractListenerOptions;
}

function checkCommon({ backlog, socketOptions }: Record<string, unknown>): void {
  if (backlog !== undefined) expectInteger('options.backlog', backlog, 0);
  if (socketOptions === undefined) return;
  if (!Array.isArray(socketOptions)) throw typeError('options.socketOptions', 'an array', socketOptions);
  for (const [index, option] of socketOptions.entries()) {
    const where = `options.socketOptions[${index}]`;
    const { level, name, value } = expectOptions(where, option, ['level', 'name', 'value']);
    expectInteger(`${where}.level`, level, 0);
    expectInteger(`${where}.name`, name, 0);
    if (typeof value === 'number') expectInteger(`${where}.value`, value, -0x80000000);
    else if (expectBytes(`${where}.value`, value).length === 0)
      throw rangeError(`${where}.value.length`, 'at least 1', 0);
  }
}

function bindIp(options: IpListenerOptions): number {
  if (options.host !== undefined) return bindIpAt(options, options.host);
  try {
    return bindIpAt(options, '::');
  } catch (error) {
    // Node's own listen() falls back in the same way where IPv6 is missing or switched off.
    const { EAFNOSUPPORT, EADDRNOTAVAIL } = constants.errno;
    const { errno } = error as { errno?: number };
    if (errno !== -EAFNOSUPPORT && errno !== -EADDRNOTAVAIL) throw error;
    return bindIpAt(options, '0.0.0.0');
  }
}

function bindIpAt(options: IpListenerOptions, host: string): number {
  const { AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOL_SOCKET, SO_REUSEADDR, SO_REUSEPORT } = native().constants;
  const { IPPROTO_IPV6, IPV6_V6ONLY } = native().constants;
  const isUdp = options.protocol === 'udp';
  // It is an address by now. isIP() compiles its pattern of IPv6 when first asked about one: 3 ms of a start (Node 20).
  const family = host.includes(':') ? AF_INET6 : AF_INET;
  const details = { address: host, port: options.port };
  return build(family, isUdp ? SOCK_DGRAM : SOCK_STREAM, details, (fd) => {
    const reuseAddr = options.reuseAddr ?? !isUdp;
    if (reuseAddr) setOption(fd, { level: SOL_SOCKET, name: SO_REUSEADDR, value: 1 }, details);
    if (options.reusePort) setOption(fd, { level: SOL_SOCKET, name: SO_REUSEPORT, value: 1 }, details);
    // Said either way: the default is net.ipv6.bindv6only, which differs between systems.
    const ipv6Only = options.ipv6Only ? 1 : 0;
    if (family === AF_INET6) setOption(fd, { level: IPPROTO_IPV6, name: IPV6_V6ONLY, value: ipv6Only }, details);
    for (const option of options.socketOptions ?? []) setOption(fd, option, details);
    check(native().bindIp(fd, family, host, options.port), 'bind', details);
    if (!isUdp) check(native().listen(fd, options.backlog ?? DEFAULT_BACKLOG), 'listen', details);
  });
}

function bindUnix(options: UnixListenerOptions): number {
  const { path, mode, uid, gid } = options;
  const { AF_UNIX, SOCK_STREAM } = native().constants;
  return build(AF_UNIX, SOCK_STREAM, { path }, (fd) => {
    for (const option of options.socketOptions ?? []) setOption(fd, option, { path });
    if (mode !== undefined || uid !== undefined) expectSafeDirectory(path);
    if (mode !== undefined) narrow(fd, mode);
    check(native().bindUnix(fd, Buffer.from(path)), 'bind', { path });
    try {
      // No client can connect before listen(2), so none gets in under the wrong mode.
      if (mode !== undefined && (lstatSync(path).mode & 0o777) !== mode) chmodSync(path, mode);
      if (uid !== undefined && gid !== undefined) lchownSync(path, uid, gid);
      check(native().listen(fd, options.backlog ?? DEFAULT_BACKLOG), 'listen', { path });
    } catch (error) {
      unlinkSync(path);
      throw error;
    }
  });
}

/** After bind(2) only the path names the file: a user who can exchange the file would have another one chmodded. */
function expectSafeDirectory(path: string): void {
  const directory = dirname(path);
  let reason: string | undefined;
  try {
    reason = unsafety(directory, { allowSticky: true });
  } catch {
    // The error of bind(2) describes a bad path better.
    return;
  }
  if (reason === undefined) return;
  const message = `${reason}, so another user could exchange the socket's file before its mode and owner are set: the directory must belong to root or to the user of this process, and only its owner may write to it, or it must be sticky (chown, chmod go-w or +t)`;
  throw new HandoverError('ERR_HANDOVER_UNSAFE_DIRECTORY', message, { stillServing: false });
}

/** bind(2) makes the file with the socket's own mode, less the umask (unix_bind() in net/unix/af_unix.c). */
function narrow(fd: number, mode: number): void {
  try {
    fchmodSync(fd, mode);
  } catch (error) {
    // Not on a Mac: there the file is what the umask leaves until chmod(2).
    if (!hasCode(error, 'EINVAL')) throw error;
  }
}

function bindAbstract(options: AbstractListenerOptions): number {
  const path = `\0${options.abstract}`;
  const { AF_UNIX, SOCK_STREAM } = native().constants;
  return build(AF_UNIX, SOCK_STREAM, { path }, (fd) => {
    for (const option of options.socketOptions ?? []) setOption(fd, option, { path });
    check(native().bindUnix(fd, Buffer.from(path)), 'bind', { path });
    check(native().listen(fd, options.backlog ?? DEFAULT_BACKLOG), 'listen', { path });
  });
}

/** Opens a socket and prepares it; closes it again where that fails. */
function build(family: number, type: number, details: SystemErrorDetails, prepare: (fd: number) => void): number {
  const fd = check(native().socket(family, type, 0), 'socket', details);
  try {
    setNonblocking(fd);
    prepare(fd);
    return fd;
  } catch (error) {
    native().close(fd);
    throw error;
  }
}

function setOption(fd: number, { level, name, value }: RawSocketOption, details: SystemErrorDetails): void {
  const bytes = typeof value === 'number' ? new Uint8Array(Int32Array.of(value).buffer) : value;
  check(native().setsockopt(fd, level, name, bytes), 'setsockopt', details);
}

function check(result: number, syscall: string, details: SystemErrorDetails): number {
  if (result < 0) throw systemError(result, syscall, details);
  return result;
}
