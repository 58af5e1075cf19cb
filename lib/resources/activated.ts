// Descriptors that the parent process passed at the start, matched with the listeners that the app asks for.
import type { Endpoint } from '../endpoints/endpoint.js';
import { isDatagram, kindOf } from '../endpoints/kinds.js';
import { HandoverError } from '../errors.js';
import { closeFd, type SocketAddress } from '../fd/index.js';
import type { Stored } from './store-name.js';

/** One passed descriptor. The holder of this object owns it. */
export interface Activated {
  readonly fd: number;
  readonly name: string;
  /** Kind of the listener; `descriptor` for anything else. */
  readonly kind: string;
  readonly local?: SocketAddress;
  /** The variable that announced it, for messages. */
  readonly source: string;
  /** The identity under which this package put it into the store of the service manager. */
  readonly stored?: Stored;
}

/**
 * Finds the descriptor for a listener of this name and endpoint: first one that this package stored under both, then one that
 * the parent process gave the name, then one at the address. Of several with the name: the one at the address, else the first.
 * @throws ERR_HANDOVER_ACTIVATION the descriptor of this name is no such listener
 */
export function findActivated(all: readonly Activated[], name: string, endpoint: Endpoint): Activated | undefined {
  const same = all.find(({ stored }) => stored?.name === name && stored.address === endpoint.canonical);
  if (same) return same;
  const fitting = all.filter((one) => one.kind !== 'descriptor' && isDatagram(one) === isDatagram(endpoint));
  const byAddress = kindOf(endpoint).closest(fitting, endpoint);
  const named = all.filter((one) => one.name === name && !one.stored);
  if (named.length === 0) return byAddress;
  if (byAddress?.name === name) return byAddress;
  const first = named.find((one) => fitting.includes(one));
  if (first) return first;
  const [wrong] = named as [Activated];
  const transport = isDatagram(endpoint) ? 'UDP socket' : 'stream listener';
  throw malformed(
    wrong.source,
    `"${name}", descriptor ${wrong.fd}, is no ${transport}, which ${endpoint.canonical} asks for`,
  );
}

export function closeActivated(all: readonly Activated[]): void {
  for (const { fd } of all) closeFd(fd);
}

/** @throws ERR_HANDOVER_ACTIVATION */
export function malformed(source: string, why: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_ACTIVATION', `${source}: ${why}`, { stillServing: false });
}
