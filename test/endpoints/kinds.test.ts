// Every kind of listener, by the same tests: read, bound, recognised, asked for again, described, and left without a trace.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import type { Endpoint, ListenAddress, Transport } from '../../lib/endpoints/endpoint.js';
import {
  ADDRESS_OPTIONS,
  addressOf,
  isDatagram,
  isInTheWay,
  isListenerKind,
  kindOf,
  kindOfSocket,
  LISTEN_SYNTAX,
  parseEndpoint,
  toEndpoint,
} from '../../lib/endpoints/kinds.js';
import { bindListener, describeFd, type SocketAddress } from '../../lib/fd/index.js';
import { own, pair, temporaryFolder, thrownBy, typeRefusal } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const host = '127.0.0.1';

interface Sample {
  readonly kind: string;
  readonly transport: Transport;
  /** As `--listen` has it. */
  readonly text: () => string;
  /** What the port 0 in it stands for. */
  readonly isOfMany: boolean;
  readonly forNode: object;
}

const name = `handover-kinds-${process.pid}:0`;
const SAMPLES: readonly Sample[] = [
  {
    kind: 'tcp',
    transport: 'stream',
    text: () => `tcp://${host}:0`,
    isOfMany: true,
    forNode: { host, port: expect.any(Number) },
  },
  {
    kind: 'udp',
    transport: 'datagram',
    text: () => `udp://${host}:0`,
    isOfMany: true,
    forNode: { host, port: expect.any(Number) },
  },
  {
    kind: 'unix',
    transport: 'stream',
    text: () => `unix:${join(temporaryFolder(), 'a:0')}`,
    isOfMany: false,
    forNode: { path: expect.stringMatching(/a:0$/) },
  },
  {
    kind: 'abstract',
    transport: 'stream',
    text: () => `abstract:${name}`,
    isOfMany: false,
    forNode: { path: `\0${name}` },
  },
];

function read(text: string): Endpoint {
  const endpoint = parseEndpoint(text);
  if (!endpoint) throw new Error(`${text} is of no kind`);
  return endpoint;
}

function localOf(fd: number): SocketAddress {
  const local = describeFd(fd).socket?.local;
  if (!local) throw new Error('it has no address');
  return local;
}

test('each kind has a sample here', () => {
  expect(SAMPLES.map(({ kind }) => kind).filter((kind) => !isListenerKind(kind))).toEqual([]);
  expect(LISTEN_SYNTAX).toHaveLength(SAMPLES.length);
});

describe.each(SAMPLES)('$kind', ({ kind, transport, text, isOfMany, forNode }) => {
  it('is read and bound; the socket is of this kind, and what the kernel says of it asks for it again', () => {
    const endpoint = read(text());
    const { bind, addressOf: addressAt, forNode: plain } = kindOf(endpoint);
    const fd = own(bind(endpoint).fd);
    expect([endpoint.kind, kindOfSocket(describeFd(fd).socket)]).toEqual([kind, kind]);
    expect(isDatagram(endpoint)).toBe(transport === 'datagram');
    const address = addressAt(localOf(fd));
    const again = toEndpoint(address, transport);
    // A port that the kernel chose is another one than was asked for.
    expect([again.kind, again.canonical === endpoint.canonical]).toEqual([kind, !isOfMany]);
    expect(plain(address)).toEqual(forNode);
  });

  it('is found among others that were passed along', () => {
    const all = SAMPLES.map((sample) => {
      const endpoint = read(sample.text());
      return { kind: sample.kind, local: localOf(own(kindOf(endpoint).bind(endpoint).fd)) };
    });
    const wanted = all.find((one) => one.kind === kind);
    // Another one of the same kind is none that is meant.
    const strangers = SAMPLES.filter((sample) => sample.isOfMany && sample.kind === kind).map((sample) => ({
      kind,
      local: localOf(own(kindOf(read(sample.text())).bind(read(sample.text())).fd)),
    }));
    const { addressOf: addressAt, closest } = kindOf({ kind });
    const endpoint = toEndpoint(addressAt(wanted?.local as SocketAddress), transport);
    const ofTransport = all.filter((one) => isDatagram(one) === isDatagram(endpoint));
    expect(closest([...strangers, ...ofTransport], endpoint)).toBe(wanted);
    expect(closest(strangers, endpoint)).toBeUndefined();
  });

  it('is described as by server.address()', () => {
    const endpoint = read(text());
    const fd = own(kindOf(endpoint).bind(endpoint).fd);
    const local = localOf(fd) as { path?: string; abstract?: string };
    const string = local.abstract === undefined ? local.path : `\0${local.abstract}`;
    expect(addressOf({ kind, fd })).toEqual(string ?? { address: host, port: expect.any(Number), family: 'IPv4' });
  });

  it(`is ${isOfMany ? 'one of many' : 'the only one'} by its canonical form`, () => {
    const { canonical } = read(text());
    expect(kindOf({ kind }).isOfMany(canonical)).toBe(isOfMany);
  });

  it('leaves no file behind, and removes none that is not its own', () => {
    const endpoint = read(text());
    const { bind, removeFile } = kindOf(endpoint);
    const { fd, file } = bind(endpoint);
    own(fd);
    const path = endpoint.bind.path;
    expect([file !== undefined, removeFile !== undefined]).toEqual([path !== undefined, path !== undefined]);
    if (path === undefined) return;
    removeFile?.(endpoint.canonical, `${file}0`);
    expect(existsSync(path)).toBe(true);
    removeFile?.(endpoint.canonical, file ?? '');
    expect(existsSync(path)).toBe(false);
  });
});

test('what is no listener that Node can adopt is of no kind', () => {
  const [stream] = pair();
  const fds = [stream, own(bindListener({ protocol: 'udp', port: 0, host }))];
  expect(fds.map((fd) => kindOfSocket(describeFd(fd).socket))).toEqual([undefined, 'udp']);
  expect(kindOfSocket(undefined)).toBeUndefined();
});

test('a kind that is not known is no kind of listener, and nothing is asked of it', () => {
  expect(['vsock', 'blob', 'descriptor', ''].filter(isListenerKind)).toEqual([]);
  expect(thrownBy(() => kindOf({ kind: 'vsock' }))).toMatchObject({ code: 'ERR_HANDOVER_UNSUPPORTED' });
});

describe('canonical addresses', () => {
  test.each<[ListenAddress, Transport, string]>([
    [{ port: 80 }, 'stream', 'tcp://*:80'],
    [{ port: 0, host: 'localhost' }, 'stream', 'tcp://localhost:0'],
    [{ port: 80, host: '::1', ipv6Only: true }, 'stream', 'tcp://[::1]:80?ipv6Only'],
    [{ port: 53, host: '127.0.0.1', reusePort: true, backlog: 3 }, 'datagram', 'udp://127.0.0.1:53'],
    [{ path: '/run/../run/x.sock', mode: 0o600 }, 'stream', 'unix:/run/x.sock'],
    [{ abstract: 'x' }, 'stream', 'abstract:x'],
  ])('%o by %s', (address, transport, canonical) => {
    expect(toEndpoint(address, transport).canonical).toBe(canonical);
  });

  test('a relative path is made absolute: the successor may have another working directory', () => {
    expect(toEndpoint({ path: 'x.sock' }).canonical).toBe(`unix:${join(process.cwd(), 'x.sock')}`);
  });

  test.each<[ListenAddress, string]>([
    [{}, '[]'],
    [{ port: 1, path: 'x' }, `[ 'port', 'path' ]`],
    [{ path: 'x', abstract: 'x' }, `[ 'path', 'abstract' ]`],
  ])('%o: one of port, path, abstract', (address, given) => {
    expect(thrownBy(() => toEndpoint(address))).toEqual(
      typeRefusal(`"options" must be given with one of port, path, abstract. Received ${given}`),
    );
  });

  test('UDP has no paths', () => {
    expect(thrownBy(() => toEndpoint({ path: 'x' }, 'datagram'))).toEqual(
      typeRefusal('"options.port" must be a number: UDP has no paths. Received undefined'),
    );
  });
});

test.each<[string, ListenAddress | undefined]>([
  ['tcp://*:80', { port: 80 }],
  ['tcp://:80', { port: 80 }],
  ['udp://[::1]:53', { port: 53, host: '::1' }],
  ['unix:///run/x.sock', { path: '/run/x.sock' }],
  ['unix:/run/x.sock', { path: '/run/x.sock' }],
  ['abstract:x', { abstract: 'x' }],
  ['tcp://localhost', undefined],
  ['tcp://localhost:65536', undefined],
  ['tcp://::1:80', undefined],
  ['unix:', undefined],
  ['abstract:', undefined],
  ['vsock://2:1024', undefined],
  ['8080', undefined],
])('--listen %s', (text, address) => {
  const transport = text.startsWith('udp') ? 'datagram' : 'stream';
  expect(parseEndpoint(text)).toEqual(address && toEndpoint(address, transport));
});

test.each([
  [{ port: 0, host }, { host }, true],
  [{ port: 0, host }, {}, true],
  [{ port: 0 }, { host }, true],
  [{ port: 0, host }, { host: '127.0.0.2' }, false],
  [{ port: 0, host: '0.0.0.0' }, { host: '::1' }, false],
])('a TCP listener at %o and one at %o of the same port: %o in its way', (first, second, isSo) => {
  const fd = own(bindListener(first));
  const { port } = localOf(fd) as { port: number };
  expect(isInTheWay({ kind: 'tcp', fd }, toEndpoint({ port, ...second }))).toBe(isSo);
  expect(isInTheWay({ kind: 'tcp', fd }, toEndpoint({ port, ...second }, 'datagram'))).toBe(false);
  expect(isInTheWay({ kind: 'tcp', fd }, toEndpoint({ port: port ^ 1, ...second }))).toBe(false);
});

test('the options of all kinds are the options of an address', () => {
  const options = [
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
  expect(ADDRESS_OPTIONS).toEqual(options);
});
