// Descriptors that were passed along at the start, matched with the listeners that the app asks for.
import { SocketAddress as ParsedAddress } from 'node:net';
import type { Endpoint, ListenerKind } from '../endpoints/endpoint.js';
import { HandoverError } from '../errors.js';
import { type BindListenerOptions, closeFd, type SocketAddress } from '../fd/index.js';
import type { Stored } from './store-name.js';

/** One descriptor that was passed along; owned by who holds this. */
export interface Activated {
  readonly fd: number;
  readonly name: string;
  /** What a listener is; a descriptor is anything else. */
  readonly kind: ListenerKind | 'descriptor';
  readonly local?: SocketAddress;
  /** The one that announced it, for messages. */
  readonly source: string;
  /** What this package said of it when it put it into the store of the service manager. */
  readonly stored?: Stored;
}

/**
 * The one that is meant by a listener of this name and place: first what this package stored as exactly that, then by the
 * name its supervisor gave, then by address. Of several of one name the one at the address, else the first.
 * @throws ERR_HANDOVER_ACTIVATION the one of this name is no such listener
 */
export function findActivated(all: readonly Activated[], name: string, endpoint: Endpoint): Activated | undefined {
  const same = all.find(({ stored }) => stored?.name === name && stored.address === endpoint.canonical);
  if (same) return same;
  const fitting = all.filter(({ kind }) => kind !== 'descriptor' && (kind === 'udp') === (endpoint.kind === 'udp'));
  const byAddress = closest(fitting, endpoint.bind);
  const named = all.filter((one) => one.name === name && !one.stored);
  if (named.length === 0) return byAddress;
  if (byAddress?.name === name) return byAddress;
  const first = named.find((one) => fitting.includes(one));
  if (first) return first;
  const [wrong] = named as [Activated];
  const transport = endpoint.kind === 'udp' ? 'UDP socket' : 'stream listener';
  throw malformed(
    wrong.source,
    `"${name}", descriptor ${wrong.fd}, is no ${transport}, which ${endpoint.canonical} asks for`,
  );
}

/** The exact address, else any address of the port where the app names none. */
function closest(all: readonly Activated[], bind: BindListenerOptions): Activated | undefined {
  if ('path' in bind) return all.find(({ local }) => local && 'path' in local && local.path === bind.path);
  if ('abstract' in bind)
    return all.find(({ local }) => local && 'abstract' in local && local.abstract === bind.abstract);
  const { host, port } = bind;
  const atPort = all.filter(({ local }) => local && 'port' in local && port !== 0 && local.port === port);
  const isAt =
    (hosts: readonly string[]) =>
    ({ local }: Activated): boolean =>
      local !== undefined && 'address' in local && hosts.includes(local.address);
  if (host !== undefined) return atPort.find(isAt([normalized(host)]));
  return atPort.find(isAt(['::', '0.0.0.0'])) ?? atPort[0];
}

/** As the kernel writes it. */
function normalized(host: string): string {
  try {
    return new ParsedAddress({ address: host, family: host.includes(':') ? 'ipv6' : 'ipv4' }).address;
  } catch {
    // With a scope: as it stands.
    return host;
  }
}

export function closeActivated(all: readonly Activated[]): void {
  for (const { fd } of all) closeFd(fd);
}

/** @throws ERR_HANDOVER_ACTIVATION */
export function malformed(source: string, why: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_ACTIVATION', `${source}: ${why}`, { stillServing: false });
}
