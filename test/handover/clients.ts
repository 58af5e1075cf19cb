// Clients that count exactly: whatever is not the whole, right answer is a failure, told in a sentence. No retries, but
// for what the protocol itself promises was not processed (HTTP/2's REFUSED_STREAM).
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import tls from 'node:tls';
import type { Kind } from './apps.js';

/** Where a server listens. */
export type Target = { readonly port: number; readonly host: string } | { readonly path: string };

export interface Answer {
  readonly pid: number;
  readonly body: Buffer;
}

// Node 24 and 26 read NODE_EXTRA_CA_CERTS in a thread as soon as tls is loaded: it is done with that file after this.
tls.createSecureContext();

const DEADLINE = 10_000;
const BIG = createHash('sha256').update(Buffer.alloc(1_000_000, 'a megabyte, line by line\n')).digest('hex');

let pair: { readonly key: string; readonly cert: string } | undefined;

/** A key and a self-signed certificate for localhost, made once for each test file. */
export function selfSigned(): { readonly key: string; readonly cert: string } {
  const options =
    '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -keyout - -out -';
  pair ??= ((pem) => ({ key: block(pem, 'PRIVATE KEY'), cert: block(pem, 'CERTIFICATE') }))(
    execFileSync('openssl', ['req', ...options.split(' ')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  return pair;
}

function block(pem: string, name: string): string {
  const [found] = new RegExp(`-----BEGIN ${name}-----[^]*-----END ${name}-----\n`).exec(pem) ?? [];
  if (found === undefined) throw new Error(`openssl wrote no ${name}`);
  return found;
}

function connect(target: Target, secure: boolean): net.Socket {
  // Half open, so that `getpeername` can tell at 'end' whether it was one (see wasReset).
  const plain = net.connect({ ...target, allowHalfOpen: true });
  return secure ? tls.connect({ socket: plain, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }) : plain;
}

/** libuv reports a reset that arrives together with data as an end; getpeername(2) fails after a reset only. */
function wasReset(socket: net.Socket): boolean {
  return !(socket instanceof tls.TLSSocket) && socket.remoteFamily === undefined && socket.remoteAddress === undefined;
}

/** One HTTP/1.1 connection at a time, one request at a time; a new connection only after an announced close. */
export class HttpConnection {
  readonly #target: Target;
  readonly #secure: boolean;
  #socket: net.Socket | undefined;
  #buffer: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #end: string | undefined;
  /** Connections made. */
  opened = 0;

  constructor(target: Target, secure = false) {
    this.#target = target;
    this.#secure = secure;
  }

  /** @throws Error in what way it was not the whole answer, with status 200 */
  async request(path: string, body?: Buffer, announceClose = false): Promise<Answer> {
    const socket = this.#open();
    const close = announceClose ? 'Connection: close\r\n' : '';
    const length = body === undefined ? '' : `Content-Length: ${body.length}\r\n`;
    const head = `${body ? 'POST' : 'GET'} ${path} HTTP/1.1\r\nHost: localhost\r\n${close}${length}\r\n`;
    // Head and body apart: the switch may come between them.
    socket.write(head, 'latin1');
    if (body) socket.write(body);
    const timer = setTimeout(() => this.#finish(`no whole answer in ${DEADLINE} ms`), DEADLINE);
    try {
      return await this.#answer(path, announceClose);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #answer(path: string, announceClose: boolean): Promise<Answer> {
    const end = await this.#until(() => this.#buffer.indexOf('\r\n\r\n'), `${path}: head`);
    const head = this.#buffer.toString('latin1', 0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    const pid = Number(/x-pid: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (!head.startsWith('HTTP/1.1 200 ') || !(pid > 0) || !(length >= 0)) throw new Error(`${path}: head ${head}`);
    const from = end + 4;
    await this.#until(() => (this.#buffer.length >= from + length ? 0 : -1), `${path}: body`);
    const body = this.#buffer.subarray(from, from + length);
    if (this.#buffer.length > from + length) throw new Error(`${path}: bytes nobody asked for`);
    this.#buffer = Buffer.alloc(0);
    if (announceClose || /connection: close/i.test(head)) this.close();
    return { pid, body };
  }

  async #until(look: () => number, what: string): Promise<number> {
    for (;;) {
      const found = look();
      if (found >= 0) return found;
      if (this.#end !== undefined) throw new Error(`${what} after ${this.#buffer.length} bytes: ${this.#end}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #open(): net.Socket {
    // An idle connection was closed without a word: the next request on it is the one that is lost.
    if (this.#socket && this.#end !== undefined) throw new Error(`closed between two requests: ${this.#end}`);
    if (this.#socket) return this.#socket;
    this.opened++;
    const socket = connect(this.#target, this.#secure);
    this.#socket = socket;
    this.#end = undefined;
    this.#buffer = Buffer.alloc(0);
    const current = (act: () => void) => () => {
      if (this.#socket !== socket) return;
      act();
      this.#wake?.();
    };
    socket.on('data', (chunk: Buffer) =>
      current(() => {
        this.#buffer = Buffer.concat([this.#buffer, chunk]);
      })(),
    );
    socket.on(
      'end',
      current(() => this.#finish(wasReset(socket) ? 'reset' : 'closed')),
    );
    socket.on('error', (error) => current(() => this.#finish(error.message))());
    return socket;
  }

  #finish(reason: string): void {
    this.#end ??= reason;
    this.#wake?.();
  }
}

/** One TCP or Unix connection to the server that echoes lines behind its pid. */
export class LineConnection {
  readonly #socket: net.Socket;
  #text = '';
  #end: string | undefined;
  #wake: (() => void) | undefined;
  #isClosing = false;

  constructor(target: Target) {
    this.#socket = connect(target, false);
    this.#socket.setEncoding('latin1').on('data', (text: string) => {
      this.#text += text;
      this.#wake?.();
    });
    this.#socket.on('end', () => this.#finish(!this.#isClosing && wasReset(this.#socket) ? 'reset' : 'closed'));
    this.#socket.on('error', (error) => this.#finish(error.message));
  }

  async echo(line: string): Promise<Answer> {
    this.#socket.write(`${line}\n`);
    const timer = setTimeout(() => this.#finish(`no answer in ${DEADLINE} ms`), DEADLINE);
    while (!this.#text.includes('\n')) {
      if (this.#end !== undefined) {
        clearTimeout(timer);
        throw new Error(`line ${line}: ${this.#end}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(timer);
    const [, pid, echoed] = /^(\d+) (.*)\n$/.exec(this.#text) ?? [];
    if (echoed !== line) throw new Error(`line ${line}: got ${JSON.stringify(this.#text)}`);
    this.#text = '';
    return { pid: Number(pid), body: Buffer.from(line) };
  }

  /** Says goodbye and waits for the server's. */
  async close(): Promise<void> {
    // With both directions ended there is no peer name any more.
    this.#isClosing = true;
    this.#socket.end();
    while (this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#socket.destroy();
    if (this.#end !== 'closed') throw new Error(`at the end: ${this.#end}`);
  }

  #finish(reason: string): void {
    this.#end ??= reason;
    this.#wake?.();
  }
}

/** One HTTP/2 session after another: a new one when the server has said GOAWAY. */
export class Http2Connection {
  readonly #target: Target;
  readonly #secure: boolean;
  #session: http2.ClientHttp2Session | undefined;
  opened = 0;

  constructor(target: Target, secure: boolean) {
    this.#target = target;
    this.#secure = secure;
  }

  async request(path: string, body?: Buffer): Promise<Answer> {
    for (;;) {
      const answer = await this.#attempt(path, body);
      if (answer) return answer;
    }
  }

  close(): void {
    this.#session?.destroy();
  }

  /** Undefined: the server said that it did not look at the request (RFC 9113 §8.7). */
  async #attempt(path: string, body: Buffer | undefined): Promise<Answer | undefined> {
    const session = this.#open();
    const stream = session.request({ ':path': path, ':method': body ? 'POST' : 'GET' });
    stream.end(body);
    const chunks: Buffer[] = [];
    let headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    stream.on('response', (received) => {
      headers = received;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    let failure: string | undefined;
    stream.on('error', (error) => {
      failure = error.message;
    });
    stream.setTimeout(DEADLINE, () => stream.destroy(new Error(`no whole answer in ${DEADLINE} ms`)));
    await once(stream, 'close').catch(() => {});
    if (stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM) return undefined;
    const received = Buffer.concat(chunks);
    const isWhole = headers[':status'] === 200 && Number(headers['content-length']) === received.length;
    if (failure === undefined && isWhole) return { pid: Number(headers['x-pid']), body: received };
    throw new Error(`${path}: ${failure ?? `${headers[':status']}, ${received.length} bytes`}`);
  }

  #open(): http2.ClientHttp2Session {
    const known = this.#session;
    if (known && !known.closed && !known.destroyed) return known;
    this.opened++;
    const session = http2.connect(this.#secure ? 'https://localhost' : 'http://localhost', {
      createConnection: () => {
        if (!this.#secure) return net.connect(this.#target);
        return tls.connect({ ...this.#target, ALPNProtocols: ['h2'], rejectUnauthorized: false });
      },
    });
    // Its streams say what became of them.
    session.on('error', () => {});
    this.#session = session;
    return session;
  }
}

/** Closed loops against one server, until stopped. */
export class Load implements AsyncDisposable {
  /** What went wrong, in full. */
  readonly failures: string[] = [];
  /** Whole, right answers by the process that gave them. */
  readonly answers = new Map<number, number>();
  readonly #loops: Promise<void>[] = [];
  readonly #waiting = new Set<() => void>();
  #isStopped = false;

  get total(): number {
    return [...this.answers.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Runs this again and again; each run gives one answer. */
  loop(once: () => Promise<Answer>, think = 0): this {
    const forever = async (): Promise<void> => {
      while (!this.#isStopped) {
        try {
          const { pid } = await once();
          this.answers.set(pid, (this.answers.get(pid) ?? 0) + 1);
        } catch (error) {
          this.failures.push((error as Error).message);
          // A refused port must not make it a spinning loop.
          await pause(20);
        }
        for (const resolve of this.#waiting) resolve();
        this.#waiting.clear();
        if (think > 0) await pause(Math.random() * think);
      }
    };
    this.#loops.push(forever());
    return this;
  }

  /** Resolves when this process has given so many more answers; rejects at the first failure. */
  async answered(pid: number, count: number): Promise<void> {
    const before = this.answers.get(pid) ?? 0;
    while ((this.answers.get(pid) ?? 0) < before + count) {
      if (this.failures.length > 0) throw new Error(this.failures.join('\n'));
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#loops);
  }
}

/** The request of the loops below: small, large, slow and with a body, in turn. */
async function mixed(client: HttpConnection | Http2Connection, turn: number): Promise<Answer> {
  const kind = turn % 8;
  if (kind === 1) return right(await client.request('/big'), BIG);
  if (kind === 3) return client.request('/slow');
  if (kind === 5) {
    const body = randomBytes(100_000);
    const answer = await client.request('/digest', body);
    const digest = createHash('sha256').update(body).digest('hex');
    if (answer.body.toString() !== digest) throw new Error('/digest: another body arrived');
    return answer;
  }
  return client.request('/');
}

function right(answer: Answer, sha256: string): Answer {
  if (createHash('sha256').update(answer.body).digest('hex') !== sha256) throw new Error('/big: another body');
  return answer;
}

/** Load for a server of fixtures/servers.mjs: connections that stay, with think time, and fresh ones. */
export function loadOf(kind: Kind, target: Target): { readonly load: Load; close(): void } {
  const load = new Load();
  const clients: { close(): unknown }[] = [];
  const kept = <T extends { close(): unknown }>(client: T): T => {
    clients.push(client);
    return client;
  };
  if (kind === 'net') {
    for (let i = 0; i < 3; i++) load.loop(() => conversation(target));
  } else if (kind === 'h2' || kind === 'h2c') {
    for (let i = 0; i < 4; i++) {
      const client = kept(new Http2Connection(target, kind === 'h2'));
      let turn = i;
      load.loop(() => mixed(client, turn++), 10);
    }
  } else {
    for (let i = 0; i < 6; i++) {
      const client = kept(new HttpConnection(target, kind === 'https'));
      let turn = i;
      // Half of them keep their connection and think, half come anew each time.
      if (i % 2 === 0) load.loop(() => mixed(client, turn++), 20);
      else load.loop(() => client.request('/', undefined, true));
    }
  }
  return { load, close: () => clients.forEach((client) => void client.close()) };
}

/** A connection of five lines, as one answer. */
async function conversation(target: Target): Promise<Answer> {
  const connection = new LineConnection(target);
  let answer = await connection.echo('line 0');
  for (let i = 1; i < 5; i++) {
    await pause(Math.random() * 5);
    answer = await connection.echo(`line ${i}`);
  }
  await connection.close();
  return answer;
}

/** Sends datagrams one after another and awaits each answer. */
export class Datagrams {
  readonly #socket: dgram.Socket;
  readonly #port: number;
  readonly #host: string;
  #count = 0;

  constructor(type: 'udp4' | 'udp6', port: number, host: string) {
    this.#socket = dgram.createSocket(type);
    this.#port = port;
    this.#host = host;
  }

  async ask(): Promise<Answer> {
    const text = `datagram ${this.#count++}`;
    this.#socket.send(text, this.#port, this.#host);
    const signal = AbortSignal.timeout(DEADLINE);
    const [message] = (await once(this.#socket, 'message', { signal })) as [Buffer];
    const [, pid, echoed] = /^(\d+) (.*)$/.exec(message.toString()) ?? [];
    if (echoed !== text) throw new Error(`${text}: got ${message}`);
    return { pid: Number(pid), body: Buffer.from(text) };
  }

  close(): void {
    this.#socket.close();
  }
}
