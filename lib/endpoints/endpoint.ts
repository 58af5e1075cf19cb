// Where a listener is: the options a caller gives, checked, and their canonical form, by which a successor claims.
import { resolve } from 'node:path';
import { typeError } from '../errors.js';
import type { BindListenerOptions, RawSocketOption } from '../fd/index.js';

/** Where to listen. One of `port`, `path` and `abstract`. */
export interface ListenAddress {
  /** A TCP or UDP port, 0 to 65535; 0 lets the kernel choose, and the successor gets that same socket. */
  readonly port?: number;
  /** An IP address or a name. @default every address, IPv6 and IPv4 */
  readonly host?: string;
  /** Refuse IPv4 on an IPv6 socket. @default false */
  readonly ipv6Only?: boolean;
  /** SO_REUSEPORT: several sockets share the port. Closing one resets what waits in its queue. @default false */
  readonly reusePort?: boolean;
  /** A Unix socket, at most 107 bytes on Linux. A relative path is relative to the working directory of the process. */
  readonly path?: string;
  /** Permissions of `path`, set before the first connection can be made. @default what the umask leaves */
  readonly mode?: number;
  /** Owner of `path`, given together with `gid`. @default the user of the process */
  readonly uid?: number;
  /** Group of `path`, given together with `uid`. @default the group of the process */
  readonly gid?: number;
  /** A name in Linux' abstract namespace. */
  readonly abstract?: string;
  /** Length asked of the accept queue; the kernel caps it at somaxconn. @default 511 */
  readonly backlog?: number;
  /** Options with no name here, set in order before bind(2), not on a socket that is claimed. @default none */
  readonly socketOptions?: readonly RawSocketOption[];
}

export const ADDRESS_OPTIONS: readonly string[] = [
  'port',
  'host',
  'ipv6Only',
  'reusePort',
  'path',
  'mode',
  'uid',
  'gid',
  'abstract',
  'backlog',
  'socketOptions',
];

export type ListenerKind = 'tcp' | 'unix' | 'abstract' | 'udp';

/** An address in the ledger's terms. */
export interface Endpoint {
  readonly kind: ListenerKind;
  /** What was asked for, not what the kernel chose: port 0 stays port 0, and so is found again by its successor. */
  readonly canonical: string;
  /** Ready to bind, once `host` is an IP address. */
  readonly bind: BindListenerOptions;
}

/** @throws TypeError none or more than one of `port`, `path` and `abstract` */
export function toEndpoint(address: ListenAddress, protocol: 'tcp' | 'udp'): Endpoint {
  const given = (['port', 'path', 'abstract'] as const).filter((key) => address[key] !== undefined);
  if (given.length !== 1) throw typeError('options', 'given with one of port, path, abstract', given);
  const { port, host, ipv6Only, reusePort, path, mode, uid, gid, abstract, backlog, socketOptions } = address;
  const common = defined({ backlog, socketOptions });
  if (protocol === 'udp' && port === undefined) throw typeError('options.port', 'a number: UDP has no paths', port);
  if (path !== undefined) {
    const absolute = resolve(path);
    return {
      kind: 'unix',
      canonical: `unix:${absolute}`,
      bind: { path: absolute, ...defined({ mode, uid, gid }), ...common },
    };
  }
  if (abstract !== undefined)
    return { kind: 'abstract', canonical: `abstract:${abstract}`, bind: { abstract, ...common } };
  const authority = `${host === undefined ? '*' : host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    kind: protocol,
    canonical: `${protocol}://${authority}${ipv6Only ? '?ipv6Only' : ''}`,
    bind: { protocol, port: port as number, ...defined({ host, ipv6Only, reusePort }), ...common },
  };
}

/** Without the keys that are undefined, which `exactOptionalPropertyTypes` tells apart from absent ones. */
function defined<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
