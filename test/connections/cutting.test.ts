// The hard stop and what it tells; and the end of those on which nothing moves any more, before it.
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bindListener, dupFd } from '../../lib/fd/index.js';
import { tcpTraffic } from '../../lib/fd/tcp-traffic.js';
import { ManagedServer } from '../../lib/protocols/managed-server.js';
import { onLinux, own, temporaryFolder } from '../fd/sandbox.js';
import { selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { Client, manage } from './sandbox.js';

// Made before the descriptors are counted.
const pair = selfSigned();
expectNoLeaks();

const handler = (held: http.ServerResponse[]) => (request: http.IncomingMessage, response: http.ServerResponse) => {
  if (request.url?.startsWith('/held')) held.push(response);
  else response.end('got it;');
};

function quiet<S extends Socket>(socket: S): S {
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

describe('the hard stop tells', () => {
  test('busy, idle and upgraded ones of an HTTP/1 server', async () => {
    const held: http.ServerResponse[] = [];
    const server = http.createServer(handler(held));
    server.on('upgrade', (_request, socket: Socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
      quiet(socket);
    });
    const { managed, port } = await manage(server);
    await new Client(port).ask('/1').gets('got it;');
    await new Client(port).ask('/held/1').connected();
    await new Client(port).ask('/held/22').connected();
    await new Client(port).ask('/ws', 'Connection: Upgrade\r\nUpgrade: x\r\n').gets('101');
    await until(() => held.length === 2, { what: 'two requests' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    expect(managed.cut()).toBe(4);
    await drained;
    const told = { listener: 'web', isTls: false, reason: 'drainTimeout', oldestMs: expect.any(Number) };
    const read = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.length;
    expect(managed.wasCut).toHaveLength(3);
    expect(managed.wasCut).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ ...told, protocol: 'http1', state: 'idle', connections: 1, bytesRead: read('/1') }),
        {
          ...told,
          protocol: 'http1',
          state: 'busy',
          connections: 2,
          bytesRead: read('/held/1') + read('/held/22'),
          bytesWritten: 0,
        },
        expect.objectContaining({ ...told, protocol: 'upgraded', state: 'idle', connections: 1 }),
      ]),
    );
  });

  test('TLS: busy ones, and handshakes that were not over', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(https.createServer(pair, handler(held)));
    const client = quiet(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }));
    client.write('GET /held HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => held.length === 1, { what: 'the request' });
    const half = quiet(connect(port, '127.0.0.1'));
    // The header of a ClientHello, and nothing else.
    half.write(Buffer.from([22, 3, 1, 1, 0]));
    await until(() => managed.connectionCount === 2, { what: 'both' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    expect(managed.cut()).toBe(2);
    await drained;
    expect(managed.wasCut).toEqual([
      expect.objectContaining({ protocol: 'http1', isTls: true, state: 'busy', connections: 1 }),
      expect.objectContaining({ protocol: 'tls', isTls: true, state: 'idle', connections: 1 }),
    ]);
  });

  test.each([
    ['h2c', false],
    ['h2', true],
  ])('%s', async (_, secure) => {
    const streams: http2.ServerHttp2Stream[] = [];
    const server = secure ? http2.createSecureServer(pair) : http2.createServer();
    server.on('stream', (stream) => streams.push(stream.on('error', () => {})));
    const { managed, port } = await manage(server as Server);
    const session = http2.connect(`${secure ? 'https' : 'http'}://127.0.0.1:${port}`, { rejectUnauthorized: false });
    session.on('error', () => {});
    onTestFinished(() => void session.destroy());
    session.request({ ':path': '/held' }).on('error', () => {});
    await until(() => streams.length === 1, { what: 'the stream' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    expect(managed.cut()).toBe(1);
    await drained;
    expect(managed.wasCut).toMatchObject([{ protocol: 'http2', isTls: secure, state: 'busy', connections: 1 }]);
  });

  test('raw ones', async () => {
    const { managed, port } = await manage(createServer());
    await new Client(port).connected();
    await until(() => managed.connectionCount === 1, { what: 'the connection' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    expect(managed.cut()).toBe(1);
    await drained;
    expect(managed.wasCut).toMatchObject([{ protocol: 'raw', isTls: false, state: 'idle', bytesRead: 0 }]);
  });
});

describe('drainIdleTimeout', () => {
  test('cuts busy ones on which no byte moves, and leaves those on which some do', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(http.createServer(handler(held)));
    const stalled = new Client(port).ask('/held/1');
    const moving = new Client(port).ask('/held/2');
    await until(() => held.length === 2, { what: 'both' });
    managed.suspend();
    const drained = managed.drain({ moves: false, idleTimeout: 300 });
    const feed = held.find(({ req }) => req.url === '/held/2');
    for (let piece = 0; piece < 12; piece++) {
      feed?.write(`piece ${piece};`);
      await pause(75);
    }
    expect([stalled.socket.destroyed || stalled.ended, moving.ended]).toEqual([true, false]);
    feed?.end('whole;');
    await moving.gets('whole;');
    // Its headers said keep-alive: the next response ends it.
    await moving.ask('/3').atEnd();
    await drained;
    expect(managed.wasCut).toMatchObject([
      { protocol: 'http1', state: 'busy', reason: 'drainIdleTimeout', connections: 1 },
    ]);
  });

  test.runIf(onLinux)(
    'a slow reader of what has long left Node is not cut: the kernel knows that bytes move',
    async () => {
      const { managed, port } = await manage(
        http.createServer((_, response) => void response.end(Buffer.alloc(12_000_000))),
      );
      const socket = quiet(connect(port, '127.0.0.1'));
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      let bytes = 0;
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        socket.pause();
      });
      await until(() => bytes > 0, { what: 'the first bytes' });
      managed.suspend();
      const drained = managed.drain({ moves: false, idleTimeout: 600 });
      const before = bytes;
      for (let turn = 0; turn < 40; turn++) {
        await pause(50);
        socket.resume();
      }
      expect([managed.connectionCount, managed.wasCut]).toEqual([1, []]);
      expect(bytes).toBeGreaterThan(before);
      expect(bytes).toBeLessThan(12_000_000);
      // It stops reading: now nothing moves.
      socket.removeAllListeners('data').pause();
      await drained;
      expect(managed.wasCut).toMatchObject([{ reason: 'drainIdleTimeout', state: 'busy', connections: 1 }]);
    },
  );

  test('where the kernel does not count, at a Unix path, Node does: what comes, and what waits to go', async () => {
    const path = join(temporaryFolder(), 'raw.sock');
    const fd = own(bindListener({ path }));
    const server = createServer((socket) => {
      quiet(socket).once('data', (first) => {
        if (first.toString() === 'send') socket.write(Buffer.alloc(8_000_000));
      });
    });
    const managed = new ManagedServer(server, 'raw', 511, () => {});
    onTestFinished(() => {
      managed.cut();
      managed.finish();
    });
    await managed.accept({ fd: dupFd(fd) });
    const [sender, reader, stalled] = [quiet(connect(path)), quiet(connect(path)), quiet(connect(path)).resume()];
    reader.on('data', () => void reader.pause()).write('send');
    await until(() => managed.connectionCount === 3, { what: 'all' });
    managed.suspend();
    const drained = managed.drain({ moves: false, idleTimeout: 300 });
    for (let turn = 0; turn < 12; turn++) {
      sender.write('x');
      reader.resume();
      await pause(75);
    }
    expect(managed.connectionCount).toBe(2);
    expect(stalled.destroyed || stalled.readableEnded).toBe(true);
    await drained;
    const told = { listener: 'raw', protocol: 'raw', reason: 'drainIdleTimeout' };
    expect(managed.wasCut).toMatchObject([
      { ...told, state: 'idle', connections: 2 },
      { ...told, state: 'busy', connections: 1 },
    ]);
  });
});

test.runIf(onLinux)(
  'tcpTraffic counts what the kernel received and the other side acknowledged; TCP only',
  async () => {
    const fd = own(bindListener({ path: join(temporaryFolder(), 'x.sock') }));
    expect(tcpTraffic(fd)).toBeUndefined();
    const accepted: Socket[] = [];
    const server = createServer((socket) => accepted.push(quiet(socket)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const client = quiet(connect((server.address() as AddressInfo).port, '127.0.0.1'));
    const socket = await until(() => accepted[0], { what: 'the connection' });
    const { fd: descriptor } = (socket as unknown as { _handle: { fd: number } })._handle;
    const before = tcpTraffic(descriptor) ?? -1;
    client.write('x'.repeat(1_000));
    await until(() => tcpTraffic(descriptor) === before + 1_000, { what: '1,000 bytes received' });
    socket.write('y'.repeat(500));
    await until(() => tcpTraffic(descriptor) === before + 1_500, { what: '500 bytes acknowledged' });
  },
);
