// The polite end of HTTP/2: GOAWAY at once, open streams finish, and a stream that crosses GOAWAY is one the client is told
// it may send again.
import * as http2 from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { manage, type Setup } from './sandbox.js';

// Made before the descriptors are counted.
const pair = selfSigned();
expectNoLeaks();

interface Serving extends Setup {
  readonly held: http2.ServerHttp2Stream[];
  readonly asked: string[];
}

async function serve(secure: boolean): Promise<Serving> {
  const held: http2.ServerHttp2Stream[] = [];
  const asked: string[] = [];
  const server = secure ? http2.createSecureServer(pair) : http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    const path = String(headers[':path']);
    asked.push(path);
    stream.on('error', () => {});
    stream.respond({ ':status': 200 });
    if (path.startsWith('/held')) held.push(stream);
    else stream.end(`got ${path};`);
  });
  return { ...(await manage(server)), held, asked };
}

class Client {
  readonly session: http2.ClientHttp2Session;
  readonly goaways: string[] = [];
  readonly errors: string[] = [];
  isClosed = false;

  constructor(port: number, secure: boolean, socket?: Socket) {
    const options = { rejectUnauthorized: false, ...(socket && !secure && { createConnection: () => socket }) };
    this.session = http2.connect(`${secure ? 'https' : 'http'}://127.0.0.1:${port}`, options);
    this.session.on('goaway', (code: number, last: number) => this.goaways.push(`${code} after ${last}`));
    this.session.on('error', (error: NodeJS.ErrnoException) => this.errors.push(error.code ?? error.message));
    this.session.on('close', () => {
      this.isClosed = true;
    });
    onTestFinished(() => void this.session.destroy());
  }

  /** The body, or the code of the error. */
  async ask(path: string): Promise<string> {
    const stream = this.session.request({ ':path': path });
    let body = '';
    stream.setEncoding('utf8').on('data', (text: string) => (body += text));
    return new Promise((resolve) => {
      stream.on('end', () => resolve(body)).on('error', (error) => resolve(error.message));
    });
  }

  async closed(): Promise<void> {
    await until(() => this.isClosed, { what: 'the end of the session' });
  }
}

/** A way to the server on which what comes from it can be kept back. */
class Way {
  port = 0;
  isHeld = false;
  readonly #held: (() => void)[] = [];
  /** How the server ended its side. */
  readonly ends: string[] = [];
  #far: Socket | undefined;

  static async to(port: number): Promise<Way> {
    const way = new Way();
    const proxy = createServer({ allowHalfOpen: true, noDelay: true }, (near) => way.#join(near, port));
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      way.#far?.destroy();
      proxy.close();
    });
    way.port = (proxy.address() as { port: number }).port;
    return way;
  }

  release(): void {
    this.isHeld = false;
    for (const act of this.#held.splice(0)) act();
  }

  #join(near: Socket, port: number): void {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.#far = far;
    const later = (act: () => void): void => {
      if (this.isHeld) this.#held.push(act);
      else act();
    };
    near.on('data', (chunk) => far.write(chunk)).on('end', () => far.end());
    near.on('error', () => far.destroy()).on('close', () => far.end());
    far.on('data', (chunk) => later(() => near.write(chunk)));
    far.on('end', () => {
      this.ends.push('end');
      later(() => near.end());
    });
    far.on('error', ({ code }: NodeJS.ErrnoException) => {
      this.ends.push(code ?? 'error');
      later(() => near.resetAndDestroy());
    });
  }
}

describe.each([
  ['h2c', false],
  ['h2', true],
])('%s', (_, secure) => {
  test('G2: GOAWAY at once, open streams finish, then the connection ends; an idle one ends at once', async () => {
    const { managed, port, held } = await serve(secure);
    const busy = new Client(port, secure);
    const idle = new Client(port, secure);
    expect(await idle.ask('/1')).toBe('got /1;');
    const answer = busy.ask('/held');
    await until(() => held.length === 1, { what: 'the request' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    await until(() => busy.goaways.length > 0, { what: 'GOAWAY' });
    await idle.closed();
    expect([busy.goaways[0], busy.isClosed, idle.errors]).toEqual(['0 after 1', false, []]);
    held[0]?.end('at last');
    expect(await answer).toBe('at last');
    await busy.closed();
    await drained;
    expect([busy.errors, managed.wasCut]).toEqual([[], []]);
  });

  test.each([
    ['an idle', false],
    ['a busy', true],
  ])('G2: a stream that crosses the GOAWAY of %s connection is refused, so that it may be sent again, and is not acted on', async (_, isBusy) => {
    const { managed, port, held, asked } = await serve(secure);
    const way = await Way.to(port);
    const client = new Client(way.port, secure);
    expect(await client.ask('/1')).toBe('got /1;');
    const answer = isBusy ? client.ask('/held') : Promise.resolve('at last');
    await until(() => held.length === (isBusy ? 1 : 0), { what: 'the request' });
    way.isHeld = true;
    managed.suspend();
    const drained = managed.drain({ moves: false });
    if (!isBusy) await until(() => way.ends.length > 0, { what: 'the end' });
    const crossing = client.ask('/crossing');
    await pause(50);
    way.release();
    expect(await crossing).toContain('NGHTTP2_REFUSED_STREAM');
    held[0]?.end('at last');
    expect(await answer).toBe('at last');
    await client.closed();
    await drained;
    expect([client.errors, way.ends, asked.includes('/crossing')]).toEqual([[], ['end'], false]);
  });
});

/** A client that says no word of its own, and never ends its side. */
async function silent(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {}).resume();
  onTestFinished(() => void socket.destroy());
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

test('G2: a session that begins while draining is answered, then told', async () => {
  const { managed, port } = await serve(true);
  const way = await Way.to(port);
  // Accepted, but its handshake waits for what the server says.
  way.isHeld = true;
  const client = new Client(way.port, true);
  const answer = client.ask('/first');
  await until(() => managed.connectionCount === 1, { what: 'the connection' });
  managed.suspend();
  const drained = managed.drain({ moves: false });
  way.release();
  expect(await answer).toBe('got /first;');
  await client.closed();
  await drained;
  expect([client.goaways[0], client.errors]).toEqual(['0 after 1', []]);
});

test('one that begins while draining and asks nothing is told after a second', async () => {
  const { managed, port } = await serve(true);
  const way = await Way.to(port);
  way.isHeld = true;
  const client = new Client(way.port, true);
  await until(() => managed.connectionCount === 1, { what: 'the connection' });
  managed.suspend();
  const start = performance.now();
  const drained = managed.drain({ moves: false });
  way.release();
  await client.closed();
  await drained;
  expect(performance.now() - start).toBeGreaterThan(950);
  expect([client.goaways.length > 0, client.errors]).toEqual([true, []]);
});

test('a client that does not end its side after GOAWAY is waited for two seconds', async () => {
  const { managed, port } = await serve(false);
  const socket = await silent(port);
  // The connection preface and an empty SETTINGS frame (RFC 9113 §3.4).
  socket.write(
    Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]),
  );
  await new Promise((resolve) => socket.once('data', resolve));
  managed.suspend();
  const start = performance.now();
  await managed.drain({ moves: false });
  expect(performance.now() - start).toBeGreaterThan(1_900);
  expect(performance.now() - start).toBeLessThan(5_000);
  expect(managed.wasCut).toEqual([]);
});
