// The counter client: numbers every request, asks each exactly once, on connections that stay and on fresh ones, and
// knows of each what became of it. It forgives nothing and retries nothing.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Where a server listens. */
export type Target = { readonly kind: 'tcp'; readonly port: number } | { readonly kind: 'unix'; readonly path: string };

/** What became of a request that was not answered. */
export interface Failure {
  readonly id: string;
  readonly kind: 'refused' | 'lost' | 'wrong' | 'twice';
  readonly detail: string;
  /** The client's: the server's log knows the connection by that. A Unix socket has no name. */
  readonly port: number | undefined;
  /** The last request that was answered on this connection. */
  readonly before: string | undefined;
  readonly target: Target['kind'];
  /** Milliseconds of the monotonic clock: when the connection was begun, and when it, or the request, failed. */
  readonly opened: number;
  readonly at: number;
  /** Nothing was on its way, or the answer came with `Connection: close`. */
  readonly isPolite: boolean;
}

export interface LoopOptions {
  readonly target: Target;
  readonly fresh: boolean;
  /** Milliseconds between two requests, at most. */
  readonly think: number;
  /** Milliseconds the server takes to answer; a range: anything between. */
  readonly takes?: number | readonly [number, number];
  /** Milliseconds between the halves of a request, at most. */
  readonly half?: number;
  /** Being told `Connection: close` is being closed. */
  readonly stays?: boolean;
}

const PAUSE_AFTER_FAILURE = 25;

export class Client {
  readonly failures: Failure[] = [];
  /** Answers by process. */
  readonly answers = new Map<number, number>();
  requests = 0;
  readonly #prefix: string;
  readonly #loops: Promise<void>[] = [];
  readonly #open = new Set<Connection>();
  readonly #fleet: Connection[] = [];
  readonly #waiting = new Set<() => void>();
  #isStopped = false;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  loop(options: LoopOptions): void {
    this.#loops.push(this.#run(options));
  }

  /** One request on a connection of its own. */
  async once(target: Target, takes = 0): Promise<void> {
    const running = this.#request(this.#connection(target), takes, true);
    this.#loops.push(running.then(() => {}));
    await running;
  }

  /** Opens so many connections and keeps them; every other one is used once. `stays`: as for a loop. */
  async fleet(target: Target, count: number, stays: boolean): Promise<void> {
    this.#fleet.push(...Array.from({ length: count }, () => this.#connection(target, stays)));
    const opened = this.#fleet.map((connection, i) =>
      i % 2 === 0 ? this.#request(connection, 0, false) : connection.connected(),
    );
    await Promise.all(opened);
  }

  /** Asks every n-th of them once; a connection that was closed meanwhile is a failure. */
  async askFleet(every = 1): Promise<void> {
    const asked = this.#fleet
      .filter(({ hasFailed }, i) => i % every === 0 && !hasFailed)
      .map((connection) => this.#request(connection, 0, false));
    this.#loops.push(...asked.map((running) => running.then(() => {})));
    await Promise.all(asked);
  }

  /** Resolves when that process has given so many more answers, or this client has been stopped. */
  async answered(pid: number, count: number): Promise<void> {
    const before = this.answers.get(pid) ?? 0;
    while (!this.#isStopped && (this.answers.get(pid) ?? 0) < before + count) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Awaits what is in flight; after `deadline` ms it counts as lost. */
  async stop(deadline = 5_000): Promise<void> {
    this.#isStopped = true;
    this.#wake();
    const timer = setTimeout(() => {
      for (const connection of this.#open) connection.giveUp(`no answer ${deadline} ms after the end of the case`);
    }, deadline);
    await Promise.all(this.#loops);
    for (const connection of this.#fleet) connection.close();
    clearTimeout(timer);
  }

  async #run({ target, fresh, think, takes = 0, stays = false, half = 0 }: LoopOptions): Promise<void> {
    const [least, most] = typeof takes === 'number' ? [takes, takes] : takes;
    let connection = this.#connection(target, stays);
    while (!this.#isStopped) {
      // One that must stay is asked all the same, and fails.
      if (connection.hasFailed || (connection.isClosed && !stays)) connection = this.#connection(target, stays);
      const time = Math.round(least + Math.random() * (most - least));
      const isRight = await this.#request(connection, time, fresh, Math.random() * half);
      await pause(isRight ? Math.random() * think : PAUSE_AFTER_FAILURE);
    }
    connection.close();
  }

  #connection(target: Target, stays = false): Connection {
    return new Connection(target, stays, (failure) => this.failures.push(failure));
  }

  async #request(connection: Connection, takes: number, isLast: boolean, half = 0): Promise<boolean> {
    const id = `${this.#prefix}-${this.requests++}`;
    this.#open.add(connection);
    const outcome = await connection.ask(id, { takes, isLast, half });
    if (!connection.isAsking) this.#open.delete(connection);
    if (typeof outcome === 'number') this.answers.set(outcome, (this.answers.get(outcome) ?? 0) + 1);
    else this.failures.push(outcome);
    if (isLast) connection.close();
    this.#wake();
    return typeof outcome === 'number';
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

interface Manner {
  readonly takes: number;
  readonly isLast: boolean;
  readonly half: number;
}

type Outcome = Pick<Failure, 'kind' | 'detail'> & { readonly isPolite?: boolean };

/** The clock of the servers' lines. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** One connection, one request at a time. Connects at the first. */
class Connection {
  readonly #target: Target;
  readonly #stays: boolean;
  readonly #onUnasked: (failure: Failure) => void;
  #asking: Promise<unknown> | undefined;
  /** How the server ended it while nothing was asked. */
  #ending: string | undefined;
  #socket: Socket | undefined;
  #isConnected = false;
  #port: number | undefined;
  #before: string | undefined;
  #text = '';
  #settle: ((outcome: number | Outcome) => void) | undefined;
  #opened = 0;
  #endedAt: number | undefined;
  isClosed = false;
  hasFailed = false;

  constructor(target: Target, stays: boolean, onUnasked: (failure: Failure) => void) {
    this.#target = target;
    this.#stays = stays;
    this.#onUnasked = onUnasked;
  }

  /** An idle connection: without a request. */
  async connected(): Promise<void> {
    this.#socket ??= this.#connect();
    if (!this.#isConnected) await once(this.#socket, 'connect');
  }

  get isAsking(): boolean {
    return this.#settle !== undefined;
  }

  /** Resolves with the pid of the process that gave the right answer, or with what went wrong. One after another. */
  async ask(id: string, manner: Manner): Promise<number | Failure> {
    const before = this.#asking;
    const asking = (async () => {
      await before;
      return this.#ask(id, manner);
    })();
    this.#asking = asking;
    return asking;
  }

  async #ask(id: string, { takes, isLast, half }: Manner): Promise<number | Failure> {
    if (this.isClosed) {
      return this.#failure(id, { kind: 'lost', detail: `${this.#ending ?? 'closed'} while idle`, isPolite: true });
    }
    this.#endedAt = undefined;
    const outcome = await new Promise<number | Outcome>((resolve) => {
      this.#settle = resolve;
      this.#socket ??= this.#connect();
      const socket = this.#socket;
      const close = isLast ? 'Connection: close\r\n' : '';
      const text = `GET /${id}?ms=${takes} HTTP/1.1\r\nHost: localhost\r\n${close}\r\n`;
      if (half === 0) {
        socket.write(text);
        return;
      }
      socket.write(text.slice(0, text.length / 2));
      setTimeout(() => socket.destroyed || socket.write(text.slice(text.length / 2)), half);
    });
    this.#settle = undefined;
    if (typeof outcome === 'number') {
      const [pid, answered] = this.#text.split('\r\n\r\n')[1]?.split(' ') ?? [];
      const says = /\r\nconnection: close\r\n/i.test(this.#text);
      this.#text = '';
      if (answered !== id) return this.#failure(id, { kind: 'wrong', detail: `the answer to ${answered}` });
      if (says && this.#stays)
        return this.#failure(id, { kind: 'lost', detail: `told to close by ${pid}`, isPolite: true });
      if (says) this.close();
      this.#before = id;
      return Number(pid);
    }
    return this.#failure(id, outcome);
  }

  giveUp(detail: string): void {
    this.#end({ kind: 'lost', detail });
  }

  close(): void {
    this.isClosed = true;
    this.#socket?.destroy();
  }

  #failure(id: string, outcome: Outcome): Failure {
    this.close();
    this.hasFailed = true;
    const at = this.#endedAt ?? now();
    const where = { port: this.#port, before: this.#before, target: this.#target.kind, opened: this.#opened };
    return { id, isPolite: false, ...outcome, ...where, at };
  }

  #connect(): Socket {
    const target = this.#target;
    this.#opened = now();
    const socket = target.kind === 'tcp' ? connect({ port: target.port, host: '127.0.0.1' }) : connect(target.path);
    socket.setNoDelay();
    socket.on('connect', () => {
      this.#isConnected = true;
      if (target.kind === 'tcp') this.#port = socket.localPort;
    });
    socket.on('data', (chunk) => this.#onData(chunk.toString('latin1')));
    socket.on('end', () => this.#end({ kind: 'lost', detail: `closed after ${this.#text.length} bytes` }));
    socket.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      this.#end({ kind: this.#isConnected || code === 'ECONNRESET' ? 'lost' : 'refused', detail: code ?? message });
    });
    return socket;
  }

  #onData(chunk: string): void {
    this.#text += chunk;
    if (!this.#settle) {
      this.#onUnasked(this.#failure('none', { kind: 'twice', detail: `nobody asked for ${chunk.slice(0, 80)}` }));
      return;
    }
    const head = this.#text.indexOf('\r\n\r\n');
    if (head < 0) return;
    const [, length] = /\r\ncontent-length: (\d+)/i.exec(this.#text) ?? [];
    const surplus = this.#text.length - (head + 4 + Number(length));
    if (surplus > 0) this.#end({ kind: 'twice', detail: `${surplus} bytes after the answer` });
    else if (surplus === 0) this.#settle(1);
    else if (length === undefined) this.#end({ kind: 'wrong', detail: this.#text.slice(0, 200) });
  }

  #end(outcome: Outcome): void {
    this.#endedAt ??= now();
    // Of a loop, which connects anew for its next request, it is what an idle connection may be.
    if (!this.#settle && this.#stays && !this.isClosed) this.#ending = outcome.detail;
    this.isClosed = true;
    this.#socket?.destroy();
    this.#settle?.(outcome);
  }
}
