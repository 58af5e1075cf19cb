// The kinds of listeners this release knows, and whatever is asked of a listener by its kind. Nothing else in lib/ tells kinds
// apart.
import type { AddressInfo } from 'node:net';
import { HandoverError, typeError } from '../errors.js';
import { describeFd, type SocketDescription } from '../fd/index.js';
import { abstract } from './abstract.js';
import { COMMON_OPTIONS, type Endpoint, type EndpointKind, type ListenAddress, type Transport } from './endpoint.js';
import { tcp } from './tcp.js';
import { udp } from './udp.js';
import { unix } from './unix.js';

/** In the order in which messages name them. */
const KINDS: readonly EndpointKind[] = [tcp, udp, unix, abstract];

const BY_NAME: ReadonlyMap<string, EndpointKind> = new Map(KINDS.map((kind) => [kind.name, kind]));
/** The options that ask for a kind. */
const KEYS = [...new Set(KINDS.map(({ key }) => key))];

/** Every option of `listen()` that says where. */
export const ADDRESS_OPTIONS: readonly string[] = [
  ...new Set([...KINDS.flatMap(({ key, options }) => [key, ...options]), ...COMMON_OPTIONS]),
];

/** What `--listen` takes, each by its syntax. */
export const LISTEN_SYNTAX: readonly string[] = KINDS.map(({ syntax }) => syntax);

/** Whether this release knows listeners of this kind; a blob and a plain descriptor are none. */
export function isListenerKind(kind: string): boolean {
  return BY_NAME.has(kind);
}

/** @throws HandoverError there is no such kind: look by {@link isListenerKind} first where it came from elsewhere */
export function kindOf({ kind }: { readonly kind: string }): EndpointKind {
  const known = BY_NAME.get(kind);
  if (known) return known;
  throw new HandoverError('ERR_HANDOVER_UNSUPPORTED', `this release knows no listener of kind "${kind}"`, {
    stillServing: true,
  });
}

/** @throws TypeError none or more than one of the options that say where, or none of this transport */
export function toEndpoint(address: ListenAddress, transport: Transport = 'stream'): Endpoint {
  const given = KEYS.filter((key) => address[key] !== undefined);
  if (given.length !== 1) throw typeError('options', `given with one of ${KEYS.join(', ')}`, given);
  const kind = KINDS.find((one) => one.key === given[0] && one.transport === transport);
  if (!kind) throw typeError('options.port', 'a number: UDP has no paths', address.port);
  return kind.toEndpoint(address);
}

/** Reads an address as `--listen` takes it; undefined where it is of no kind. */
export function parseEndpoint(text: string): Endpoint | undefined {
  for (const kind of KINDS) {
    const address = kind.parse(text);
    if (address) return kind.toEndpoint(address);
  }
  return undefined;
}

/** The kind of listener a socket is; undefined where Node could not adopt it: it finds out too late (FACTS N3). */
export function kindOfSocket(socket: SocketDescription | undefined): string | undefined {
  return socket && KINDS.find(({ isOne }) => isOne(socket))?.name;
}

export function isDatagram(of: { readonly kind: string }): boolean {
  return BY_NAME.get(of.kind)?.transport === 'datagram';
}

/** Whether it keeps the endpoint from being bound. The descriptor is borrowed. */
export function isInTheWay({ kind, fd }: { readonly kind: string; readonly fd: number }, endpoint: Endpoint): boolean {
  const local = kind === endpoint.kind ? describeFd(fd).socket?.local : undefined;
  return local !== undefined && kindOf(endpoint).isInTheWay?.(local, endpoint) === true;
}

/** Its address as `server.address()` gives it. The descriptor is borrowed. */
export function addressOf({ kind, fd }: { readonly kind: string; readonly fd: number }): AddressInfo | string {
  const local = describeFd(fd).socket?.local;
  return local ? kindOf({ kind }).describe(local) : '';
}
