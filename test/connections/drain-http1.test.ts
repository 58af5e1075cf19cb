// The polite end of HTTP/1 connections, with and without TLS: what is under way is answered whole, what crosses the end is
// never acted on, and idle ones do not end in the same instant.
import * as http from 'node:http';
import * as https from 'node:https';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { manage, type Setup } from './sandbox.js';

// Made before the descriptors are counted.
const pair = selfSigned();
expectNoLeaks();

const BIG = Buffer.alloc(1_000_000, 'a megabyte, line by line\n');

interface Draining extends Setup {
  /** The URLs the app was asked for. */
  readonly asked: string[];
  /** What HTTP is spoken on. */
  readonly sockets: Socket[];
  readonly held: http.ServerResponse[];
  /** So many clients, each accepted. */
  open(count: number): Promise<Reader[]>;
}

async function serve(secure: boolean, options: https.ServerOptions = {}): Promise<Draining> {
  const asked: string[] = [];
  const sockets: Socket[] = [];
  const held: http.ServerResponse[] = [];
  const handler = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    asked.push(request.url ?? '');
    if (request.url?.startsWith('/held')) held.push(response);
    else response.end(request.url === '/big' ? BIG : `got ${request.url};`);
  };
  const server = secure ? https.createServer({ ...pair, ...options }, handler) : http.createServer(options, handler);
  server.keepAliveTimeout = 60_000;
  server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => sockets.push(socket));
  const setup = await manage(server);
  const open = async (count: number): Promise<Reader[]> => {
    const readers = await Promise.all(Array.from({ length: count }, () => Reader.open(setup.port, secure)));
    await until(() => sockets.length === count, { what: 'the connections' });
    return readers;
  };
  return { ...setup, asked, sockets, held, open };
}

/** A client that reads when it is told to, and does not end its side by itself. */
class Reader {
  readonly socket: Socket;
  readonly raw: Socket;
  /** How the connection ended. */
  end: string | undefined;
  endedAt = 0;
  #chunks: Buffer[] = [];

  private constructor(raw: Socket, socket: Socket) {
    this.raw = raw;
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    const note = (how: string): void => {
      if (this.end === undefined) this.endedAt = performance.now();
      this.end ??= how;
    };
    socket.on('end', () => note('end')).on('close', () => note('close'));
    socket.on('error', (error: NodeJS.ErrnoException) => note(error.code ?? error.message));
    onTestFinished(() => {
      socket.destroy();
      raw.destroy();
    });
  }

  static async open(port: number, secure: boolean, maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3'): Promise<Reader> {
    const raw = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    raw.on('error', () => {});
    await new Promise((resolve) => raw.once('connect', resolve));
    if (!secure) return new Reader(raw, raw);
    const socket = connectTls({ socket: raw, rejectUnauthorized: false, maxVersion, allowHalfOpen: true } as object);
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    return new Reader(raw, socket);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString('latin1');
  }

  ask(path: string, headers = ''): this {
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
    return this;
  }

  /** Reads nothing. */
  stop(): this {
    this.raw.pause();
    this.socket.pause();
    return this;
  }

  goOn(): void {
    this.socket.resume();
    this.raw.resume();
  }

  async gets(text: string): Promise<this> {
    await until(() => this.text.includes(text), { what: text });
    return this;
  }

  async ended(timeout = 10_000): Promise<string> {
    return until(() => this.end, { what: 'the end of the connection', timeout });
  }
}

describe.each([
  ['http', false],
  ['https', true],
])('%s', (_, secure) => {
  test('G2, C7a: a megabyte that ends its connection reaches a slow reader whole, who asks once more meanwhile', async () => {
    const { managed, open, sockets, asked } = await serve(secure);
    const readers = await open(6);
    managed.suspend();
    const drained = managed.drain({ moves: false });
    for (const reader of readers) reader.stop().ask('/big');
    // All of it is in the kernel, and most of it on this side.
    await until(() => sockets.every(({ writableFinished }) => writableFinished), { what: 'the end of each' });
    for (const reader of readers) reader.ask('/late');
    await pause(50);
    for (const reader of readers) reader.goOn();
    for (const reader of readers) {
      expect(await reader.ended()).toBe('end');
      expect(reader.text).toContain('Connection: close');
      expect(reader.bytes.subarray(-BIG.length).equals(BIG)).toBe(true);
      reader.socket.end();
    }
    await drained;
    expect(asked).toEqual(Array(6).fill('/big'));
  });

  test('G2: a request that crosses the end of the last response is not acted on, and brings no reset', async () => {
    const { managed, open, asked, sockets } = await serve(secure);
    const [reader] = (await open(1)) as [Reader];
    managed.suspend();
    const drained = managed.drain({ moves: false });
    await reader.ask('/1').gets('got /1;');
    await until(() => sockets[0]?.writableFinished, { what: 'its end' });
    reader.ask('/2').ask('/3');
    await pause(50);
    expect([await reader.ended(), asked, sockets[0]?.destroyed]).toEqual(['end', ['/1'], false]);
    // The end of its own side ends the lingering.
    reader.socket.end();
    const start = performance.now();
    await drained;
    expect(performance.now() - start).toBeLessThan(1_500);
  });

  test('one that never ends its side is read for two seconds, then closed', async () => {
    const { managed, open } = await serve(secure);
    const [reader] = (await open(1)) as [Reader];
    managed.suspend();
    const drained = managed.drain({ moves: false });
    await reader.ask('/1').gets('got /1;');
    const start = performance.now();
    await drained;
    expect(performance.now() - start).toBeGreaterThan(1_800);
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(managed.wasCut).toEqual([]);
  });

  test("a connection that the app or the client ends lingers as well: HTTP/1.0, and the app's own Connection: close", async () => {
    const { managed, port, held, asked, sockets } = await serve(secure);
    const old = await Reader.open(port, secure);
    const closing = await Reader.open(port, secure);
    old.socket.write('GET /held/old HTTP/1.0\r\n\r\n');
    closing.ask('/held/closing', 'Connection: close\r\n');
    await until(() => held.length === 2, { what: 'the requests' });
    managed.suspend();
    const drained = managed.drain({ moves: true });
    for (const response of held) response.end('done;');
    for (const reader of [old, closing]) {
      await reader.gets('done;');
      await until(() => sockets.every(({ writableFinished }) => writableFinished), { what: 'the end of both' });
      reader.ask('/late');
    }
    // Idle by the parser, but over for its client: it must not move.
    await pause(50);
    expect([...managed.movable()]).toEqual([]);
    for (const reader of [old, closing]) {
      expect(await reader.ended()).toBe('end');
      reader.socket.end();
    }
    await drained;
    expect(asked.sort()).toEqual(['/held/closing', '/held/old']);
  });

  test('idle ones end after the grace, each at a time of its own; one that is used meanwhile is answered', async () => {
    const { managed, open } = await serve(secure);
    const readers = await open(40);
    // Every other one was used before.
    for (const reader of readers.filter((_, i) => i % 2 === 0)) await reader.ask('/1').gets('got /1;');
    managed.suspend();
    const start = performance.now();
    const drained = managed.drain({ moves: false, timeout: 6_000 });
    await pause(100);
    const [used, ...others] = readers;
    await used?.ask('/2').gets('got /2;');
    expect(used?.text).toContain('Connection: close');
    used?.socket.end();
    for (const reader of others) {
      expect(await reader.ended()).toBe('end');
      expect(reader.text.match(/HTTP\/1\.1/g)?.length ?? 0).toBeLessThan(2);
      reader.socket.end();
    }
    await drained;
    const after = others.map(({ endedAt }) => endedAt - start);
    expect(Math.min(...after)).toBeGreaterThan(990);
    expect(Math.max(...after)).toBeLessThan(3_500);
    // 39 times of a second, evenly spread: not even half of them come within a quarter.
    for (const first of after) {
      expect(after.filter((time) => time >= first && time < first + 250).length).toBeLessThan(25);
    }
    expect(managed.wasCut).toEqual([]);
  });

  test('G2: a request that crosses the end of an idle connection is not acted on: an orderly end, no byte, no reset', async () => {
    const { managed, port, asked, sockets } = await serve(secure);
    const reader = await Reader.open(port, secure);
    await reader.ask('/1').gets('got /1;');
    const { length } = reader.bytes;
    managed.suspend();
    const drained = managed.drain({ moves: false, timeout: 600 });
    await until(() => sockets[0]?.writableFinished, { what: 'its end' });
    reader.ask('/2');
    await pause(50);
    expect([await reader.ended(), reader.bytes.length, asked]).toEqual(['end', length, ['/1']]);
    reader.socket.end();
    await drained;
  });

  test('G2, C7a: a response under way when it begins, that ends its connection anyway, lingers', async () => {
    const { managed, open, held, asked } = await serve(secure);
    const [reader] = (await open(1)) as [Reader];
    reader.ask('/held', 'Connection: close\r\n');
    await until(() => held.length === 1, { what: 'the request' });
    reader.stop();
    managed.suspend();
    const drained = managed.drain({ moves: true });
    held[0]?.end(BIG);
    await until(() => held[0]?.writableFinished, { what: 'the end of the response' });
    // Whoever closes with this unread resets the connection, and the response is lost.
    reader.ask('/late');
    await pause(50);
    reader.goOn();
    expect(await reader.ended()).toBe('end');
    expect(reader.bytes.subarray(-BIG.length).equals(BIG)).toBe(true);
    reader.socket.end();
    await drained;
    expect(asked).toEqual(['/held']);
  });

  test('G2: half a head on a connection that was about to end idle: it is answered, and ends then', async () => {
    const { managed, open, sockets } = await serve(secure);
    const [reader] = (await open(1)) as [Reader];
    await reader.ask('/1').gets('got /1;');
    managed.suspend();
    const drained = managed.drain({ moves: false, timeout: 1_800 });
    // It waits for its end, which comes after 300 to 600 ms.
    await pause(100);
    const before = sockets[0]?.bytesRead;
    reader.socket.write('GET /2 HTTP/1.1\r\nHo');
    await until(() => sockets[0]?.bytesRead !== before, { what: 'half a head to be read' });
    await pause(700);
    expect([reader.end, sockets[0]?.writableEnded]).toEqual([undefined, false]);
    reader.socket.write('st: x\r\n\r\n');
    await reader.gets('got /2;');
    expect(reader.text).toContain('Connection: close');
    expect(await reader.ended()).toBe('end');
    reader.socket.end();
    await drained;
    expect(managed.wasCut).toEqual([]);
  });

  test('G2: a response under way is not idle, however long it takes', async () => {
    const { managed, port, held } = await serve(secure);
    const busy = (await Reader.open(port, secure)).ask('/held');
    await until(() => held.length === 1, { what: 'the request' });
    managed.suspend();
    const drained = managed.drain({ moves: false, timeout: 300 });
    await pause(300);
    expect(busy.end).toBeUndefined();
    held[0]?.end('at last;');
    await busy.gets('at last;');
    expect(await busy.ended()).toBe('end');
    busy.socket.end();
    await drained;
  });

  test('resume undoes it: idle ones stay, and an end does not linger', async () => {
    const { managed, port, where, sockets } = await serve(secure);
    const reader = await Reader.open(port, secure);
    await reader.ask('/1').gets('got /1;');
    managed.suspend();
    void managed.drain({ moves: false, timeout: 300 });
    await managed.resume(where);
    await pause(250);
    expect(reader.end).toBeUndefined();
    await reader.ask('/2', 'Connection: close\r\n').gets('got /2;');
    expect(await reader.ended()).toBe('end');
    await until(() => sockets[0]?.destroyed, { what: 'a plain close', timeout: 1_000 });
  });
});

test('G3: one that would have moved is left alone as long as it would', async () => {
  const { managed, port } = await serve(false);
  const reader = await Reader.open(port, false);
  await reader.ask('/1').gets('got /1;');
  managed.suspend();
  const drained = managed.drain({ moves: true, timeout: 3_000 });
  await pause(300);
  expect(reader.end).toBeUndefined();
  managed.stay();
  expect(await reader.ended()).toBe('end');
  reader.socket.end();
  await drained;
});

test('an idle TLS connection gets close_notify', async () => {
  const { managed, port } = await serve(true);
  const cipher: Buffer[] = [];
  const proxy = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    far.on('data', (chunk: Buffer) => cipher.push(chunk));
    near.pipe(far).pipe(near);
    near.on('error', () => {});
    far.on('error', () => {});
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void proxy.close());
  // Its records tell their type in the clear: 21 is an alert.
  const reader = await Reader.open((proxy.address() as { port: number }).port, true, 'TLSv1.2');
  await reader.ask('/1').gets('got /1;');
  managed.suspend();
  const drained = managed.drain({ moves: false, timeout: 600 });
  expect(await reader.ended()).toBe('end');
  expect(recordTypes(Buffer.concat(cipher)).at(-1)).toBe(21);
  reader.socket.end();
  await drained;
});

test('a TLS connection on which no handshake was begun ends like an idle one', async () => {
  const { managed, port } = await serve(true);
  const raw = connect({ port, host: '127.0.0.1' });
  onTestFinished(() => void raw.destroy());
  const ended = new Promise((resolve) => raw.once('end', () => resolve('end')).once('error', resolve));
  raw.resume();
  await until(() => managed.connectionCount === 1, { what: 'the connection' });
  managed.suspend();
  const drained = managed.drain({ moves: false, timeout: 600 });
  expect(await ended).toBe('end');
  await drained;
  expect(managed.wasCut).toEqual([]);
});

/** The type of each TLS record in these bytes (RFC 5246 §6.2.1). */
function recordTypes(bytes: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) types.push(bytes.readUInt8(at));
  return types;
}
