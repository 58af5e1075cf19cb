// Turns the app's server and options into an endpoint and a managed server.

import { Socket as DatagramSocket } from 'node:dgram';
import { isIP, Server } from 'node:net';
import type { Endpoint, ListenAddress } from '../endpoints/endpoint.js';
import { toEndpoint } from '../endpoints/kinds.js';
import { typeError } from '../errors.js';
import { DEFAULT_BACKLOG } from '../fd/listener.js';
import type { Managed } from '../protocols/managed.js';
import { ManagedServer } from '../protocols/managed-server.js';
import type { Migration } from '../protocols/migration.js';
import { ManagedDatagram } from '../protocols/udp.js';
import type { Listener } from './types.js';

/** @throws TypeError the listener is neither a server nor a UDP socket that can be handed over */
export function expectListener(listener: unknown): asserts listener is Listener {
  if (listener instanceof Server || listener instanceof DatagramSocket) return;
  throw typeError('listener', 'a server of net, http, https or http2, or a dgram socket', listener);
}

/** @throws TypeError `migrate` is given for a server that cannot use it: TLS, HTTP/2 or UDP */
export function expectMigratable(listener: unknown, migration: Migration | undefined): void {
  expectListener(listener);
  if (migration === undefined || takesMigration(listener)) return;
  throw typeError('options.migrate', 'absent: it is for a net.Server or an http.Server', migration);
}

/**
 * Whether this is a plain net.Server or http.Server. Servers of tls, https and http2 extend these; they are told by the
 * methods that they add, so that their modules need not be loaded.
 */
function takesMigration(listener: unknown): boolean {
  const additions = ['setSecureContext', 'updateSettings'];
  return listener instanceof Server && !additions.some((name) => name in listener);
}

/** The endpoint of this address. Its host may still be a name. */
export function endpointOf(listener: Listener, address: ListenAddress): Endpoint {
  expectListener(listener);
  const isDatagram = listener instanceof DatagramSocket;
  return isDatagram ? toEndpoint(withFamily(listener, address), 'datagram') : toEndpoint(address);
}

/** Looks a host name up, as `server.listen()` does; undefined where there is no name, so that the caller need not wait. */
export function resolving(endpoint: Endpoint): Promise<Endpoint> | undefined {
  if (!('host' in endpoint.bind) || endpoint.bind.host === undefined || isIP(endpoint.bind.host) !== 0)
    return undefined;
  const { bind } = endpoint;
  const name = endpoint.bind.host;
  // Loaded only where the host is a name.
  const looked = import('node:dns/promises').then(({ lookup }) => lookup(name));
  return looked.then(({ address: host }) => ({ ...endpoint, bind: { ...bind, host } }));
}

export async function resolveHost(endpoint: Endpoint): Promise<Endpoint> {
  return (await resolving(endpoint)) ?? endpoint;
}

/** Adds the wildcard address of the socket's family, because Node refuses a descriptor of the other family. */
function withFamily(socket: DatagramSocket, address: ListenAddress): ListenAddress {
  if (address.host !== undefined) return address;
  const { type } = socket as unknown as { type?: string };
  return { ...address, host: type === 'udp6' ? '::' : '0.0.0.0' };
}

export function manage(
  listener: Listener,
  name: string,
  backlog: number = DEFAULT_BACKLOG,
  onClose: () => void,
  migration?: Migration,
): Managed {
  if (listener instanceof Server) return new ManagedServer(listener, name, backlog, onClose, migration);
  return new ManagedDatagram(listener, onClose);
}
