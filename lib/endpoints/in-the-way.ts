// Whether a TCP listener keeps another from being bound: the same port, and an address that covers the other or is covered.
import { isIPv6, SocketAddress as ParsedAddress } from 'node:net';
import { describeFd, type SocketAddress } from '../fd/index.js';
import type { Endpoint } from './endpoint.js';

/** The addresses of every host, which for an IPv6 socket are those of IPv4, too. */
const EVERY_IPV6 = '::';
const EVERY_IPV4 = '0.0.0.0';

export function isInTheWay(fd: number, { kind, bind }: Endpoint): boolean {
  const local = describeFd(fd).socket?.local;
  if (kind !== 'tcp' || !('port' in bind) || !local || !('port' in local) || local.port !== bind.port) return false;
  return covers(local.address, bind.host ?? EVERY_IPV6) || covers(normalized(bind.host ?? EVERY_IPV6), local.address);
}

/** Whether a listener at this address and port is whom a client at `host` reaches. */
export function reaches(local: SocketAddress, host: string, port: number): boolean {
  return 'port' in local && local.port === port && covers(local.address, host);
}

function covers(address: string, host: string): boolean {
  if (address === EVERY_IPV6) return true;
  if (address === EVERY_IPV4) return !isIPv6(host);
  return address === normalized(host);
}

/** As the kernel writes it. */
function normalized(host: string): string {
  try {
    return new ParsedAddress({ address: host, family: isIPv6(host) ? 'ipv6' : 'ipv4' }).address;
  } catch {
    // With a scope: as it stands.
    return host;
  }
}
