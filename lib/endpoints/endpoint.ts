// What a listener is to this package: the options a caller gives, the canonical form by which a successor claims, and what the
// file of each kind knows. A kind is a string on the wire, and a name in kinds.ts.
import type { AddressInfo } from 'node:net';
import type { BindListenerOptions, RawSocketOption, SocketAddress, SocketDescription } from '../fd/index.js';

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

/** Whether a listener accepts connections or receives datagrams. */
export type Transport = 'stream' | 'datagram';

/** An address in the ledger's terms. */
export interface Endpoint {
  /** Name of its {@link EndpointKind}. */
  readonly kind: string;
  /** What was asked for, not what the kernel chose: port 0 stays port 0, and so is found again by its successor. */
  readonly canonical: string;
  /** Ready to bind, once `host` is an IP address. */
  readonly bind: BindListenerOptions;
}

/** A listener that was bound. The descriptor is the caller's. */
export interface Bound {
  readonly fd: number;
  /** Identity of the file that bind(2) made, where it made one. */
  readonly file?: string | undefined;
}

/** Something that may have an address of its own: a descriptor that was passed along. */
export interface Located {
  readonly local?: SocketAddress;
}

/** All that differs between kinds of listeners. */
export interface EndpointKind {
  readonly name: string;
  readonly transport: Transport;
  /** The option of {@link ListenAddress} that asks for this kind. */
  readonly key: keyof ListenAddress;
  /** Those that say more of it. */
  readonly options: readonly (keyof ListenAddress)[];
  /** How `--listen` names one, for help and messages. */
  readonly syntax: string;
  /** Reads that; undefined where it is none of this kind. */
  readonly parse: (text: string) => ListenAddress | undefined;
  readonly toEndpoint: (address: ListenAddress) => Endpoint;
  /** Binds, and listens where the transport does. @throws as bind(2) and listen(2) */
  readonly bind: (endpoint: Endpoint) => Bound;
  /** Removes what bind(2) left beside the descriptor, if it is still this listener's. */
  readonly removeFile?: (canonical: string, file: string) => void;
  /** Whether a socket is a listener of this kind that Node can adopt. */
  readonly isOne: (socket: SocketDescription) => boolean;
  /** The options by which a listener at that address is asked for. */
  readonly addressOf: (local: SocketAddress) => ListenAddress;
  /** Of listeners that were passed along, the one that is meant by an endpoint of this kind. */
  readonly closest: <T extends Located>(all: readonly T[], endpoint: Endpoint) => T | undefined;
  /** Whether the canonical form is that of many listeners, each bound anew: port 0. */
  readonly isOfMany: (canonical: string) => boolean;
  /** Whether a listener of this kind at that address keeps the endpoint from being bound; absent where nobody tries first. */
  readonly isInTheWay?: (local: SocketAddress, endpoint: Endpoint) => boolean;
  /** The address as `server.address()` gives it. */
  readonly describe: (local: SocketAddress) => AddressInfo | string;
  /** What Node's own `listen()` takes, where there is no addon. */
  readonly forNode: (address: ListenAddress) => PlainAddress;
}

export interface PlainAddress {
  readonly port?: number;
  readonly host?: string;
  readonly path?: string;
  readonly ipv6Only?: boolean;
}

/** Options of every kind. */
export const COMMON_OPTIONS: readonly ['backlog', 'socketOptions'] = ['backlog', 'socketOptions'];

/** The named options that are given: `exactOptionalPropertyTypes` tells undefined ones from absent ones. */
export function pick<K extends keyof ListenAddress>(
  address: ListenAddress,
  keys: readonly K[],
): { [P in K]?: NonNullable<ListenAddress[P]> } {
  return Object.fromEntries(keys.filter((key) => address[key] !== undefined).map((key) => [key, address[key]])) as {
    [P in K]?: NonNullable<ListenAddress[P]>;
  };
}
