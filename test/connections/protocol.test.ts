// What a managed server asks of the protocols it is given, and how the registered ones share the connections of each kind of
// server.
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { describe, expect, test } from 'vitest';
import { Connections } from '../../lib/protocols/connections.js';
import type { Migrator, Movable, Protocol, ProtocolAt } from '../../lib/protocols/protocol.js';
import { PROTOCOLS } from '../../lib/protocols/registry.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { Client, manage } from './sandbox.js';

expectNoLeaks();

interface Probe {
  readonly at: ProtocolAt;
  readonly said: string[];
}

/** A protocol that has the connections whose client has said its greeting, and says what it is asked. */
function probe(greeting: string, options: { readonly endsIdle?: boolean; readonly migrate?: Migrator } = {}): Probe {
  const said: string[] = [];
  const greeted = new WeakSet<net.Socket>();
  const at: ProtocolAt = ({ server }) => {
    server.on('connection', (socket: net.Socket) =>
      socket.on('data', (bytes) => {
        if (String(bytes) === greeting) greeted.add(socket);
        said.push(String(bytes));
      }),
    );
    return {
      name: 'raw',
      endsIdle: options.endsIdle ?? false,
      migrate: options.migrate,
      recognise: (socket) => greeted.has(socket),
      count: (sockets) => sockets.map((socket) => ({ socket, state: 'idle' })),
      drain: {
        begin: ({ moves, timeout }) => said.push(`begin ${moves} ${timeout}`),
        stay: () => said.push('stay'),
        stop: () => said.push('stop'),
        closeIdle: () => said.push('close idle'),
      },
    };
  };
  return { at, said };
}

function migrator(protocol: string, said: string[] = []): Migrator {
  return {
    protocol,
    canMove: true,
    hold: () => undefined,
    *movable() {
      yield { protocol } as Movable;
    },
    whenMovable: () => {
      said.push(`${protocol} watched`);
      return () => said.push(`${protocol} let go`);
    },
  };
}

describe('a managed server', () => {
  test('counts a connection by the first protocol that recognises it, and none that nobody does', async () => {
    const [first, second] = [probe('hello'), probe('hello')];
    const { managed, port } = await manage(net.createServer(), [first.at, second.at]);
    const [one, other] = [new Client(port), new Client(port)];
    one.socket.write('hello');
    other.socket.write('bye');
    await until(() => first.said.length === 2, { what: 'both greetings' });
    expect([managed.connectionCount, managed.cut()]).toEqual([2, 1]);
    expect(managed.wasCut).toMatchObject([{ protocol: 'raw', connections: 1, bytesRead: 'hello'.length }]);
  });

  test('cuts idle connections at the idle timeout, but for those of a protocol that ends its idle ones', async () => {
    const [cut, spared] = [probe('a'), probe('b', { endsIdle: true })];
    const { managed, port } = await manage(net.createServer(), [cut.at, spared.at]);
    for (const greeting of ['a', 'b']) new Client(port).socket.write(greeting);
    await until(() => cut.said.length === 2, { what: 'both greetings' });
    void managed.drain({ moves: false, idleTimeout: 40 });
    await until(() => managed.connectionCount === 1, { what: 'one that is cut' });
    expect(managed.wasCut).toMatchObject([{ reason: 'drainIdleTimeout', connections: 1 }]);
  });

  test('asks each to drain, to stay only while it drains, and to stop', async () => {
    const { at, said } = probe('');
    const { managed } = await manage(net.createServer(), [at]);
    managed.stay();
    void managed.drain({ moves: true, timeout: 1234 });
    managed.stay();
    managed.endDrain();
    managed.stay();
    expect(said).toEqual(['begin true 1234', 'stay', 'stop']);
  });

  test.each([
    ['ends idle ones', undefined, ['begin true 30000', 'close idle']],
    ['leaves idle ones alone where a protocol migrates', migrator('wire'), ['begin true 30000']],
  ])('closed by the app while it drains: %s', async (_, migrate, expected) => {
    const { at, said } = probe('', migrate && { migrate });
    const server = net.createServer();
    const { managed } = await manage(server, [at]);
    managed.suspend();
    void managed.drain({ moves: true });
    server.close();
    expect(said).toEqual(expected);
  });

  test('asks the migrators of all: by their name on the wire, for what could migrate, and when', async () => {
    const said: string[] = [];
    const [one, two] = [migrator('one', said), migrator('two', said)];
    const protocols = [probe('', { migrate: one }).at, probe('').at, probe('', { migrate: two }).at];
    const { managed } = await manage(net.createServer(), protocols);
    expect([managed.adopter('two'), managed.adopter('three')]).toEqual([two, undefined]);
    expect([...managed.movable()].map(({ protocol }) => protocol)).toEqual(['one', 'two']);
    managed.whenMovable(() => {})();
    expect(said).toEqual(['one watched', 'two watched', 'one let go', 'two let go']);
  });
});

describe('the registry', () => {
  const at = (server: net.Server): Protocol[] => {
    const connections = new Connections(() => {});
    return PROTOCOLS.flatMap((each) => each({ server, name: 'web', connections, migration: undefined }) ?? []);
  };

  test.each<[string, () => net.Server, readonly string[], readonly string[]]>([
    ['net', () => net.createServer(), ['raw'], []],
    ['tls', () => tls.createServer(), ['tls', 'raw'], []],
    ['http', () => http.createServer(), ['upgraded', 'http1'], ['http1']],
    ['http2', () => http2.createServer(), ['http2'], []],
    ['http2 with TLS', () => http2.createSecureServer(), ['tls', 'http2', 'upgraded', 'http1'], []],
  ])('gives a server of %s its protocols', (_, create, names, migrating) => {
    const protocols = at(create());
    expect(protocols.map(({ name }) => name)).toEqual(names);
    expect(protocols.flatMap(({ migrate }) => migrate?.protocol ?? [])).toEqual(migrating);
  });
});
