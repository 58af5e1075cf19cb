// The common part of TCP and UDP listeners: a host and a port, and which address covers which.
import { type AddressInfo, isIPv6, SocketAddress as ParsedAddress } from 'node:net';
import { bindListener, type SocketAddress } from '../fd/index.js';
import { COMMON_OPTIONS, type EndpointKind, type ListenAddress, type Located, pick } from './endpoint.js';

/** The unspecified addresses. A socket at the IPv6 one accepts IPv4, too, unless it is `ipv6Only`. */
const EVERY_IPV6 = '::';
const EVERY_IPV4 = '0.0.0.0';

const OPTIONS = ['host', 'ipv6Only', 'reusePort'] as const;

/** The members that TCP and UDP have in common. */
export function ipKind(name: 'tcp' | 'udp'): Omit<EndpointKind, 'transport' | 'isOne' | 'isInTheWay'> {
  const scheme = `${name}://`;
  return {
    name,
    key: 'port',
    options: OPTIONS,
    syntax: `${scheme}HOST:PORT`,
    parse: (text) => (text.startsWith(scheme) ? parseAuthority(text.slice(scheme.length)) : undefined),
    toEndpoint: (address) => {
      const { port = 0, host, ipv6Only } = address;
      const canonical = `${scheme}${authority(host ?? '*', port)}${ipv6Only ? '?ipv6Only' : ''}`;
      return {
        kind: name,
        canonical,
        bind: { protocol: name, port, ...pick(address, OPTIONS), ...pick(address, COMMON_OPTIONS) },
      };
    },
    bind: ({ bind }) => ({ fd: bindListener(bind) }),
    addressOf: (local) => (isIp(local) ? { port: local.port, host: local.address } : {}),
    closest: (all, { bind }) => closest(all, bind),
    isOfMany: (canonical) => /:0(\?|$)/.test(canonical),
    describe: (local) => (isIp(local) ? local : ''),
    forNode: (address) => pick(address, ['port', 'host', 'ipv6Only']),
  };
}

export function isIp(local: SocketAddress | undefined): local is AddressInfo {
  return local !== undefined && 'port' in local;
}

export function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Reads `host:port`, `[::1]:port`, `*:port`, `:port`. */
function parseAuthority(text: string): ListenAddress | undefined {
  const [, host = '', port] = /^(\*|\[[^\]]+\]|[^:]*):(\d+)$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65_535) return undefined;
  const bare = host.replace(/^\[|\]$/g, '');
  return { port: Number(port), ...(bare !== '' && bare !== '*' && { host: bare }) };
}

/** The listener at the port and host; where the app names no host, one at every address first, else any at the port. */
function closest<T extends Located>(all: readonly T[], { host, port }: Asked): T | undefined {
  const atPort = all.filter(({ local }) => isIp(local) && port !== 0 && local.port === port);
  const isAt =
    (hosts: readonly string[]) =>
    ({ local }: Located): boolean =>
      isIp(local) && hosts.includes(local.address);
  if (host !== undefined) return atPort.find(isAt([normalized(host)]));
  return atPort.find(isAt([EVERY_IPV6, EVERY_IPV4])) ?? atPort[0];
}

interface Asked {
  readonly host?: string;
  readonly port?: number;
}

/** Whether a listener at `local` makes bind(2) fail: the port is the same, and one address covers the other. */
export function overlaps(local: SocketAddress, { host = EVERY_IPV6, port }: Asked): boolean {
  if (!isIp(local) || local.port !== port) return false;
  return covers(local.address, host) || covers(normalized(host), local.address);
}

/** Whether a client at `host` reaches a listener at this address and port. */
export function reaches(local: SocketAddress, host: string, port: number): boolean {
  return isIp(local) && local.port === port && covers(local.address, host);
}

function covers(address: string, host: string): boolean {
  if (address === EVERY_IPV6) return true;
  if (address === EVERY_IPV4) return !isIPv6(host);
  return address === normalized(host);
}

/** The address in the form in which the kernel writes it. */
function normalized(host: string): string {
  try {
    return new ParsedAddress({ address: host, family: host.includes(':') ? 'ipv6' : 'ipv4' }).address;
  } catch {
    // An address with a scope (`fe80::1%eth0`) cannot be parsed, and stays as it is.
    return host;
  }
}
