// `handover hammer` over TLS, and as a WebSocket client, against servers that behave and servers that do not.
import https from 'node:https';
import net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { acceptOf } from '../../lib/hammer/websocket.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { pairOf } from '../tls/pairs.js';
import { listen, losses, type Ran, rawServer, runHammer } from './helpers.js';

expectNoLeaks();
const programs = usePrograms();

describe('TLS', () => {
  async function secureServer(versions: Set<string | null>): Promise<string> {
    const server = https.createServer(pairOf('localhost'), (request, response) => {
      versions.add((request.socket as TLSSocket).getProtocol());
      response.end('hello\n');
    });
    return `https://127.0.0.1:${await listen(server)}/`;
  }

  test.each([
    ['1.2', 'TLSv1.2'],
    ['1.3', 'TLSv1.3'],
  ])('version %s pinned, and resumptions counted', async (version, protocol) => {
    const versions = new Set<string | null>();
    const url = await secureServer(versions);
    const more = ['--tls-version', version, '--mix', 'new:2', '--requests', '20'];
    const { result, details } = await runHammer(programs, url, ...more);
    expect(result).toMatchObject({ requests: { ok: 20, lost: 0 }, connections: { opened: 20, closedByServer: 0 } });
    expect([...versions]).toEqual([protocol]);
    // Two clients: two whole handshakes.
    expect(details.tls).toEqual({ handshakes: 20, resumed: 18 });
    const whole = await runHammer(programs, url, ...more, '--no-resume');
    expect(whole.details.tls).toEqual({ handshakes: 20, resumed: 0 });
  });

  test('every kind of client', async () => {
    const mix = 'keep-alive:2,new:2,idle:1,pipelined:1,half-sent:1';
    const url = await secureServer(new Set());
    const { result } = await runHammer(programs, url, '--mix', mix, '--requests', '60', '--idle', '20ms');
    expect(result).toMatchObject({ requests: { ok: 60, lost: 0 }, connections: { closedByServer: 0 } });
  });

  test.each([
    ['closed in the handshake', (socket: net.Socket) => socket.end(), 'earlyClose'],
    ['reset in the handshake', (socket: net.Socket) => socket.resetAndDestroy(), 'resetBeforeWrite'],
    ['no TLS at all', (socket: net.Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), 'refused'],
    ['never secured', () => {}, 'unanswered'],
  ])('%s', async (_, behave: (socket: net.Socket) => void, kind) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {}).once('data', () => behave(socket));
    });
    const url = `https://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(programs, url, '--connections', '2', '--requests', '6', '--timeout', '300ms');
    expect(losses(result)).toEqual({ [kind]: 6 });
    expect(result.connections.opened).toBe(6);
  });

  test.each([
    ['before an answer', '', 'earlyClose'],
    ['within an answer', 'hell', 'short'],
  ])('a connection whose TLS breaks %s was not refused', async (_, text, kind) => {
    let spoil = (): void => {};
    const server = https.createServer(pairOf('localhost'), (_, response) => {
      if (text === '') return spoil();
      response.writeHead(200, { 'content-length': 6 });
      response.write(text, () => setTimeout(spoil, 50));
    });
    const port = await listen(server);
    const between = net.createServer((client) => {
      const upstream = net.connect(port, '127.0.0.1').on('error', () => {});
      client
        .on('error', () => {})
        .pipe(upstream)
        .pipe(client);
      spoil = () => client.write('this is no record of TLS');
    });
    const url = `https://127.0.0.1:${await listen(between)}/`;
    const { result } = await runHammer(programs, url, '--connections', '1', '--requests', '3');
    expect(losses(result)).toEqual({ [kind]: 3 });
  });
});

describe('a WebSocket', () => {
  /** A server's frame that is shorter than 126 bytes. */
  function frame(opcode: number, payload: Buffer): Buffer {
    return Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload]);
  }

  function longPing(): Buffer {
    const header = Buffer.alloc(10);
    header.writeUInt16BE(0x897f);
    header.writeUInt32BE(70_000, 6);
    return Buffer.concat([header, Buffer.alloc(70_000)]);
  }

  /** The payloads of the text messages among a client's frames, which are whole here and shorter than 126 bytes. */
  function textsIn(bytes: Buffer): Buffer[] {
    if (bytes.length === 0) return [];
    const end = 6 + ((bytes[1] ?? 0) & 127);
    const mask = bytes.subarray(2, 6);
    const payload = Buffer.from(bytes.subarray(6, end).map((byte, i) => byte ^ (mask[i % 4] ?? 0)));
    return [...(((bytes[0] ?? 0) & 15) === 1 ? [payload] : []), ...textsIn(bytes.subarray(end))];
  }

  /** Answers each message as `answer` does, after an honest handshake. */
  function socketServer(answer: (socket: net.Socket, payload: Buffer) => void, accept = acceptOf): net.Server {
    return net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (request) => {
        const [, key = ''] = /^sec-websocket-key: (.*)$/im.exec(request.toString()) ?? [];
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(key.trim())}\r\n\r\n`,
        );
        socket.on('data', (bytes: Buffer) => {
          for (const text of textsIn(bytes)) answer(socket, text);
        });
      });
    });
  }

  async function drive(server: net.Server, ...more: string[]): Promise<Ran> {
    const url = `http://127.0.0.1:${await listen(server)}/`;
    return await runHammer(programs, url, '--websocket', '/ws', '--mix', 'websocket:2', '--requests', '12', ...more);
  }

  test('each message is a request, answered by its echo', async () => {
    const server = socketServer((socket, payload) => {
      socket.write(frame(9, Buffer.from('are you there'))); // and a ping between
      socket.write(Buffer.concat([frame(1, Buffer.from(payload.subarray(0, 4)))]).fill(0x01, 0, 1)); // a first fragment
      socket.write(frame(0, payload.subarray(4)));
    });
    const { result } = await drive(server);
    expect(result).toMatchObject({ requests: { ok: 12, lost: 0 }, connections: { opened: 2, closedByServer: 0 } });
  });

  test('a server that greets, and tells news before each echo, is answered right', async () => {
    const greeted = new Set<net.Socket>();
    const server = socketServer((socket, payload) => {
      if (!greeted.has(socket)) socket.write(frame(1, Buffer.from('welcome')));
      greeted.add(socket);
      socket.write(frame(2, Buffer.from('news')));
      socket.write(frame(1, payload));
    });
    const { result } = await drive(server);
    expect(result).toMatchObject({ requests: { ok: 12, lost: 0 }, connections: { opened: 2, closedByServer: 0 } });
  });

  test('an echo that comes twice is one loss, and not that of every later message', async () => {
    let isFirst = true;
    const server = socketServer((socket, payload) => {
      socket.write(Buffer.concat([frame(1, payload), isFirst ? frame(1, payload) : Buffer.alloc(0)]));
      isFirst = false;
    });
    const { result } = await drive(server);
    expect(result).toMatchObject({ requests: { ok: 11, lost: 1 }, connections: { closedByServer: 0 } });
    expect(losses(result)).toEqual({ wrongBody: 1 });
  });

  test.each<[string, (socket: net.Socket, payload: Buffer) => void, string]>([
    ['another message', (socket) => socket.write(frame(1, Buffer.from('no echo'))), 'unanswered'],
    ['an echo that is cut', (socket, payload) => socket.write(frame(1, payload.subarray(0, 16))), 'wrongBody'],
    ['an echo of another message', (socket) => socket.write(frame(1, Buffer.from('handover hammer 0'))), 'wrongBody'],
    ['a ping of 70,000 bytes', (socket) => socket.write(longPing()), 'wrongBody'],
    ['a ping in fragments', (socket, payload) => socket.write(frame(9, payload).fill(0x09, 0, 1)), 'wrongBody'],
    ['reserved bits', (socket, payload) => socket.write(frame(0x41, payload)), 'wrongBody'],
    ['closed without an answer', (socket) => socket.end(), 'earlyClose'],
    ['code 1012 without an answer', (socket) => socket.end(frame(8, Buffer.from([3, 0xf4]))), 'earlyClose'],
    ['closed within the answer', (socket, payload) => socket.end(frame(1, payload).subarray(0, 5)), 'short'],
    ['reset', (socket) => socket.resetAndDestroy(), 'resetAfterWrite'],
    ['no answer', () => {}, 'unanswered'],
  ])('%s', async (_, behave, kind) => {
    const { result } = await drive(socketServer(behave), '--timeout', '200ms');
    expect(losses(result)).toEqual({ [kind]: 12 });
    expect(result.requests).toEqual({ ok: 0, lost: 12 });
  });

  test('a close between two messages forces a reconnect, and loses nothing', async () => {
    const server = socketServer((socket, payload) => {
      socket.write(frame(1, payload), () => setTimeout(() => socket.end(frame(8, Buffer.from([3, 0xf4]))), 20));
    });
    const { result, details } = await drive(server, '--think', '300ms');
    expect(result).toMatchObject({ requests: { ok: 12, lost: 0 }, connections: { opened: 12 } });
    expect(details.reconnectsForced).toBe(10);
  });

  test('an answer to the handshake that is no upgrade, or one to another key', async () => {
    const plain = rawServer((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
    expect(losses((await drive(plain)).result)).toEqual({ status: 12 });
    const other = socketServer(
      () => {},
      () => acceptOf('another key'),
    );
    expect(losses((await drive(other)).result)).toEqual({ wrongBody: 12 });
  });
});
