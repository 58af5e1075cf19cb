// G3: upgraded connections beside those of `ws`: any app on 'upgrade', other protocols, TLS; and how those that stay end.
import { once } from 'node:events';
import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { ManagedServer } from '../../lib/protocols/managed-server.js';
import { isMigrated, migrateUpgrades, migrateWebSockets } from '../../lib/websocket.js';
import { selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { counted, PREDECESSOR, type Site, SUCCESSOR, site, Transfer, turns } from './sandbox.js';
import { chat, frame, HANDOVER, SocketWire } from './websockets.js';
import { Wire } from './wire.js';

expectNoLeaks();

function start(from: Pick<Site, 'managed'>, to: Site): Transfer {
  const transfer = new Transfer(
    () => from.managed.movable(),
    (listener) => (listener === 'web' ? to.managed.adopter : undefined),
  );
  from.managed.whenMovable(() => transfer.offering.sweepSoon());
  transfer.offering.sweepSoon();
  transfer.run();
  return transfer;
}

/** An app on 'upgrade' with a protocol of its own: it answers `<site>:<lines so far>:<line>`; a moved one counts on. */
async function lines(id: number): Promise<Site & { readonly heard: string[]; readonly upgraded: Duplex[] }> {
  const base = await site(id);
  const heard: string[] = [];
  const upgraded: Duplex[] = [];
  const memories = new Map<unknown, { count: number; half: string }>();
  base.server.on('upgrade', (request, socket) => {
    const memory = { count: 0, half: '' };
    memories.set(socket, memory);
    upgraded.push(socket);
    heard.push(isMigrated(request) ? 'again' : 'new');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n');
    socket.on('data', (bytes: Buffer) => {
      const [next = '', ...rest] = (memory.half + bytes).split('\n').reverse();
      memory.half = next;
      for (const line of rest.reverse()) socket.write(`${id}:${++memory.count}:${line}\n`);
    });
    socket.on('close', () => heard.push('close'));
    socket.on('error', ({ message }) => heard.push(message));
  });
  migrateUpgrades(HANDOVER, base.server, {
    save: (socket) => memories.get(socket),
    restore: (socket, state) => {
      Object.assign(memories.get(socket) as object, state);
    },
  });
  return { ...base, heard, upgraded };
}

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: lines\r\n';

describe("an app on 'upgrade'", () => {
  test('G3: with a protocol of its own: half a line travels in its state', async () => {
    const [from, to] = [await lines(PREDECESSOR), await lines(SUCCESSOR)];
    const client = await new Wire(from.port).connected();
    expect(await client.get('/lines', UPGRADE).head()).toMatch(/^HTTP\/1\.1 101 /);
    expect(await client.send('one\nha').take(8)).toBe('1:1:one\n');
    await turns();
    const transfer = start(from, to);
    await until(() => transfer.holding.adopted === 1, { what: 'it to move' });
    expect(await client.send('lf\n').take(9)).toBe('2:2:half\n');
    await counted(from, 0);
    expect([from.heard, to.heard, client.pending]).toEqual([['new'], ['again'], 0]);
  });

  test('G3: one that moved here and was never read is not taken for a fresh HTTP connection', async () => {
    const [from, to, third] = [await lines(1), await lines(2), await lines(3)];
    const client = await new Wire(from.port).connected();
    await client.get('/lines', UPGRADE).head();
    await turns();
    for (const [before, after] of [
      [from, to],
      [to, third],
    ] as const) {
      const transfer = start(before, after);
      await until(() => transfer.holding.adopted === 1, { what: 'it to move' });
      await counted(before, 0);
    }
    expect(await client.send('x\n').take(6)).toBe('3:1:x\n');
    expect(third.heard).toEqual(['again']);
  });

  test('G3: bytes that have come and that the app has not read are read by it, before the move', async () => {
    const [from, to] = [await lines(PREDECESSOR), await lines(SUCCESSOR)];
    from.server.on('upgrade', (_, socket) => socket.pause());
    const client = await new Wire(from.port).connected();
    await client.get('/lines', UPGRADE).head();
    const [socket] = from.upgraded;
    client.send('one\n');
    await until(() => socket?.readableLength === 4, { what: 'them to come' });
    const transfer = start(from, to);
    await turns(40);
    expect(transfer.holding.adopted).toBe(0);
    socket?.resume();
    expect(await client.take(8)).toBe('1:1:one\n');
    await until(() => transfer.holding.adopted === 1, { what: 'it to move' });
    expect(await client.send('two\n').take(8)).toBe('2:2:two\n');
  });

  test('G5: taken back: a writer that was told to wait meanwhile may go on', async () => {
    const [from, to] = [await lines(PREDECESSOR), await lines(SUCCESSOR)];
    const client = await new Wire(from.port).connected();
    await client.get('/lines', UPGRADE).head();
    const [socket] = from.upgraded;
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    const answers = Array.from({ length: 20 }, () => socket?.write(Buffer.alloc(5_000, '.')));
    expect([answers[0], answers.at(-1)]).toEqual([true, false]);
    const drained = once(socket as Duplex, 'drain');
    transfer.offering.takeBack();
    await drained;
    expect(await client.take(100_000)).toBe('.'.repeat(100_000));
  });

  test('without one Node does with an upgrade what it always did', async () => {
    const { server, port } = await site(1);
    expect(server.listenerCount('upgrade')).toBe(0);
    const client = await new Wire(port).connected();
    client.get('/lines', UPGRADE);
    // Node 20 and 22 answer as if nothing was asked, or end the connection; what matters is that we changed nothing.
    const listener = (): void => {};
    server.on('upgrade', listener);
    expect(server.listenerCount('upgrade')).toBe(2);
    server.off('upgrade', listener);
    expect(server.listenerCount('upgrade')).toBe(0);
  });

  test('G2: an idle HTTP connection does not wait for a new release that takes its time with a WebSocket', async () => {
    const from = await chat(PREDECESSOR);
    let decide: ((isWelcome: boolean) => void) | undefined;
    const to = await chat(SUCCESSOR, {
      wss: {
        verifyClient: (_, callback) => {
          decide = callback;
        },
      },
    });
    const socket = await new SocketWire(from.port).open();
    const idle = await new Wire(from.port).connected();
    await counted(from, 2);
    const transfer = start(from, to);
    expect((await idle.ask('/now')).pid).toBe(SUCCESSOR);
    expect(transfer.holding.adopted).toBe(1);
    decide?.(true);
    expect(await socket.asked('x')).toBe(`${SUCCESSOR}:1:x`);
  });
});

describe('what stays', () => {
  test('G3: is closed with 1012 at random moments of the spread', async () => {
    const { managed, port, heard } = await chat(PREDECESSOR, { stays: true });
    const clients = await Promise.all(Array.from({ length: 20 }, () => new SocketWire(port).open()));
    const began = performance.now();
    void managed.drain({ moves: false, spread: 400 });
    const times = await Promise.all(
      clients.map(async (client) => {
        expect(await client.sentAway()).toBe(1012);
        return performance.now() - began;
      }),
    );
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(150);
    await until(() => heard.filter((word) => word === 'close 1012').length === 20, { what: 'the app to hear it' });
  });

  test('G3: an unfinished message of the app goes first; then a client that does not answer is left to the deadline', async () => {
    const { managed, port, sockets } = await chat(PREDECESSOR, { stays: true });
    const client = await new SocketWire(port).open();
    sockets[0]?.send('one, ', { fin: false });
    void managed.drain({ moves: false });
    expect((await client.frame()).payload.toString()).toBe('one, ');
    await pause(50);
    expect(client.pending).toBe(0);
    sockets[0]?.send('two', { fin: true });
    expect((await client.frame()).payload.toString()).toBe('two');
    expect(await client.frame()).toMatchObject({ opcode: 'close' });
    await turns();
    expect([client.end, managed.cut()]).toEqual([undefined, 1]);
    expect(await client.ended()).toBe('closed');
  });

  test('G3: also one that could move and never comes to it, before the hard stop', async () => {
    const { managed, port } = await chat(PREDECESSOR, { wss: { autoPong: false } });
    const client = await new SocketWire(port).open();
    client.send(frame('ping', 'never answered'));
    await turns();
    const began = performance.now();
    const drained = managed.drain({ moves: true, timeout: 600 });
    expect(await client.sentAway()).toBe(1012);
    expect(performance.now() - began).toBeGreaterThan(400);
    await drained;
  });

  test('G3: an app that never closes is closed a second after the handshake', async () => {
    const { server, managed, port } = await site(1);
    server.on('upgrade', (_, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      socket.on('data', () => {});
    });
    const client = await new SocketWire(port).open();
    const drained = managed.drain({ moves: false });
    expect(await client.sentAway()).toBe(1012);
    await drained;
  });

  test('G5: recalled: those whose time had not come are kept', async () => {
    const { managed, port } = await chat(PREDECESSOR, { stays: true });
    const client = await new SocketWire(port).open();
    void managed.drain({ moves: false, spread: 100 });
    managed.finish();
    await pause(150);
    expect(await client.asked('still here')).toBe(`${PREDECESSOR}:1:still here`);
  });

  test('G3: over TLS: 1012', async () => {
    const server = https.createServer(selfSigned());
    const wss = new WebSocketServer({ server });
    migrateWebSockets(HANDOVER, wss, { save: () => 1, restore: () => {} });
    const managed = new ManagedServer(server, 'web', 511, () => {});
    await managed.accept({ port: 0, host: '127.0.0.1' });
    onTestFinished(async () => {
      managed.cut();
      await new Promise((resolve) => server.close(resolve));
    });
    const socket = connect({ port: (server.address() as AddressInfo).port, rejectUnauthorized: false });
    socket.write(
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).toMatch(/^HTTP\/1\.1 101 /);
    const drained = managed.drain({ moves: true });
    const [close] = (await once(socket, 'data')) as [Buffer];
    expect([...close]).toEqual([0x88, 2, 0x03, 0xf4]);
    socket.end(frame('close', Buffer.of(0x03, 0xf4)));
    await drained;
  });
});

describe('migrateWebSockets, migrateUpgrades', () => {
  test('refuse what they cannot work with', async () => {
    const { server } = await site(1);
    const movers = { save: () => 1, restore: () => {} };
    const wss = new WebSocketServer({ noServer: true });
    expect(() => migrateWebSockets(HANDOVER, wss, movers)).toThrow('options.server');
    expect(() => migrateWebSockets({} as never, wss, { ...movers, server })).toThrow('handover');
    expect(() => migrateWebSockets(HANDOVER, {} as never, { ...movers, server })).toThrow('wss');
    expect(() => migrateWebSockets(HANDOVER, wss, { ...movers, server, other: 1 } as never)).toThrow('other');
    expect(() => migrateUpgrades(HANDOVER, server, { save: () => 1 } as never)).toThrow('options.restore');
    expect(() => migrateUpgrades(HANDOVER, server, { ...movers, stay: 1 } as never)).toThrow('options.stay');
    migrateUpgrades(HANDOVER, server, movers);
    expect(() => migrateUpgrades(HANDOVER, server, movers)).toThrow('already');
  });
});
