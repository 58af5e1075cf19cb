// The address of a listener: the options that a caller gives, the canonical form by which a successor claims the listener, and
// the members that each kind of listener has. A kind is a string on the wire, and a name in kinds.ts.
import type { AddressInfo } from 'node:net';
import type { BindListenerOptions, RawSocketOption, SocketAddress, SocketDescription } from '../fd/index.js';

/** Where to listen. One of `port`, `path` and `abstract`. */
export interface ListenAddress {
  /** A TCP or UDP port, 0 to 65535. 0: the kernel chooses a port, which the successor keeps, because it gets the same socket. */
  readonly port?: number;
  /** An IP address or a host name. @default every address, IPv6 and IPv4 */
  readonly host?: string;
  /** Refuse IPv4 on an IPv6 socket. @default false */
  readonly ipv6Only?: boolean;
  /** SO_REUSEPORT: several sockets share the port. Closing one resets the connections in its queue. @default false */
  readonly reusePort?: boolean;
  /** Path of a Unix socket, at most 107 bytes on Linux. A relative one starts at the working directory of the process. */
  readonly path?: string;
  /**
   * Permissions of `path`, set before a client can connect. Refused in a directory where another user could exchange the file.
   * @default 0o777 less the umask
   */
  readonly mode?: number;
  /** Owner of `path`, given together with `gid`. @default the user of the process */
  readonly uid?: number;
  /** Group of `path`, given together with `uid`. @default the group of the process */
  readonly gid?: number;
  /** A name in Linux' abstract namespace. */
  readonly abstract?: string;
  /** Length of the accept queue, which the kernel limits to net.core.somaxconn. @default 511 */
  readonly backlog?: number;
  /** Socket options that have no name here, set in this order before bind(2), and not on a claimed socket. @default none */
  readonly socketOptions?: readonly RawSocketOption[];
}

/** Whether a listener accepts connections or receives datagrams. */
export type Transport = 'stream' | 'datagram';

/** The address of a listener, in the form that the ledger compares and binds. */
export interface Endpoint {
  /** Name of its {@link EndpointKind}. */
  readonly kind: string;
  /** The address that the app asked for, not the one the kernel chose: port 0 stays 0, so a successor finds the listener. */
  readonly canonical: string;
  /** Options for bind(2). `host` may be a name still, which must be resolved before. */
  readonly bind: BindListenerOptions;
}

/** A bound listener. The caller owns the descriptor. */
export interface Bound {
  readonly fd: number;
  /** Identity of the file that bind(2) made, where it made one. */
  readonly file?: string | undefined;
}

/** A descriptor that the parent process passed, with its local address if it is a socket that has one. */
export interface Located {
  readonly local?: SocketAddress;
}

/** Everything in which kinds of listeners differ. */
export interface EndpointKind {
  readonly name: string;
  readonly transport: Transport;
  /** The option of {@link ListenAddress} that asks for this kind. */
  readonly key: keyof ListenAddress;
  /** The other options of {@link ListenAddress} that this kind takes. */
  readonly options: readonly (keyof ListenAddress)[];
  /** The syntax of `--listen` for this kind, for help and messages. */
  readonly syntax: string;
  /** Reads an address in that syntax; undefined where it is not of this kind. */
  readonly parse: (text: string) => ListenAddress | undefined;
  readonly toEndpoint: (address: ListenAddress) => Endpoint;
  /** Binds a socket, and listens on it if it is a stream socket. @throws the system's error of bind(2) and listen(2) */
  readonly bind: (endpoint: Endpoint) => Bound;
  /** Removes the file that bind(2) made, if the path is still that `file`. */
  readonly removeFile?: (canonical: string, file: string) => void;
  /** Whether a socket is a listener of this kind that Node can adopt. */
  readonly isOne: (socket: SocketDescription) => boolean;
  /** The options that ask for a listener at that address. */
  readonly addressOf: (local: SocketAddress) => ListenAddress;
  /** The passed listener that fits an endpoint of this kind. */
  readonly closest: <T extends Located>(all: readonly T[], endpoint: Endpoint) => T | undefined;
  /** Whether several listeners can have this canonical form, as with port 0: each call binds another port. */
  readonly isOfMany: (canonical: string) => boolean;
  /** Whether a listener at that address makes bind(2) of the endpoint fail; absent where apps look for no free one. */
  readonly isInTheWay?: (local: SocketAddress, endpoint: Endpoint) => boolean;
  /** The address as `server.address()` gives it. */
  readonly describe: (local: SocketAddress) => AddressInfo | string;
  /** The arguments of Node's own `listen()`, for a platform without the addon. */
  readonly forNode: (address: ListenAddress) => PlainAddress;
}

export interface PlainAddress {
  readonly port?: number;
  readonly host?: string;
  readonly path?: string;
  readonly ipv6Only?: boolean;
}

/** Options that every kind takes. */
export const COMMON_OPTIONS: readonly ['backlog', 'socketOptions'] = ['backlog', 'socketOptions'];

/** The named options, without those that are undefined: `exactOptionalPropertyTypes` tells undefined from absent. */
export function pick<K extends keyof ListenAddress>(
  address: ListenAddress,
  keys: readonly K[],
): { [P in K]?: NonNullable<ListenAddress[P]> } {
  return Object.fromEntries(keys.filter((key) => address[key] !== undefined).map((key) => [key, address[key]])) as {
    [P in K]?: NonNullable<ListenAddress[P]>;
  };
}
