// The kinds of listeners that this release knows, and the functions that depend on the kind. No other file in lib/ tells kinds
// apart.
import type { AddressInfo } from 'node:net';
import { HandoverError, typeError } from '../errors.js';
import { describeFd, type SocketDescription } from '../fd/index.js';
import { abstract } from './abstract.js';
import { COMMON_OPTIONS, type Endpoint, type EndpointKind, type ListenAddress, type Transport } from './endpoint.js';
import { tcp } from './tcp.js';
import { udp } from './udp.js';
import { unix } from './unix.js';

/** Every kind, in the order in which messages name them. */
const KINDS: readonly EndpointKind[] = [tcp, udp, unix, abstract];

const BY_NAME: ReadonlyMap<string, EndpointKind> = new Map(KINDS.map((kind) => [kind.name, kind]));
/** The options by which a caller chooses a kind. */
const KEYS = [...new Set(KINDS.map(({ key }) => key))];

/** Every option of `listen()` that describes the address. */
export const ADDRESS_OPTIONS: readonly string[] = [
  ...new Set([...KINDS.flatMap(({ key, options }) => [key, ...options]), ...COMMON_OPTIONS]),
];

/** The syntaxes of `--listen`. */
export const LISTEN_SYNTAX: readonly string[] = KINDS.map(({ syntax }) => syntax);

/** Whether this is a kind of listener that this release knows. False for `blob` and `descriptor`. */
export function isListenerKind(kind: string): boolean {
  return BY_NAME.has(kind);
}

/** @throws ERR_HANDOVER_UNSUPPORTED this release knows no such kind: check a kind of another process by `isListenerKind` */
export function kindOf({ kind }: { readonly kind: string }): EndpointKind {
  const known = BY_NAME.get(kind);
  if (known) return known;
  throw new HandoverError('ERR_HANDOVER_UNSUPPORTED', `this release knows no listener of kind "${kind}"`, {
    stillServing: true,
  });
}

/** @throws TypeError none or several of the options that choose a kind are given, or their kind has another transport */
export function toEndpoint(address: ListenAddress, transport: Transport = 'stream'): Endpoint {
  const given = KEYS.filter((key) => address[key] !== undefined);
  if (given.length !== 1) throw typeError('options', `given with one of ${KEYS.join(', ')}`, given);
  const kind = KINDS.find((one) => one.key === given[0] && one.transport === transport);
  if (!kind) throw typeError('options.port', 'a number: UDP has no paths', address.port);
  return kind.toEndpoint(address);
}

/** Reads an address in a syntax of `--listen`; undefined where it has none of them. */
export function parseEndpoint(text: string): Endpoint | undefined {
  for (const kind of KINDS) {
    const address = kind.parse(text);
    if (address) return kind.toEndpoint(address);
  }
  return undefined;
}

/** The kind of listener that a socket is; undefined for one that Node cannot adopt and would refuse too late (FACTS N3). */
export function kindOfSocket(socket: SocketDescription | undefined): string | undefined {
  return socket && KINDS.find(({ isOne }) => isOne(socket))?.name;
}

export function isDatagram(of: { readonly kind: string }): boolean {
  return BY_NAME.get(of.kind)?.transport === 'datagram';
}

/** Whether this listener makes bind(2) of the endpoint fail. Borrows the descriptor. */
export function isInTheWay({ kind, fd }: { readonly kind: string; readonly fd: number }, endpoint: Endpoint): boolean {
  const local = kind === endpoint.kind ? describeFd(fd).socket?.local : undefined;
  return local !== undefined && kindOf(endpoint).isInTheWay?.(local, endpoint) === true;
}

/** The address of this listener as `server.address()` gives it. Borrows the descriptor. */
export function addressOf({ kind, fd }: { readonly kind: string; readonly fd: number }): AddressInfo | string {
  const local = describeFd(fd).socket?.local;
  return local ? kindOf({ kind }).describe(local) : '';
}
