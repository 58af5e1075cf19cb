// The counter client: numbers every request, asks each exactly once, on connections that stay and on fresh ones, and
// knows of each what became of it. It forgives nothing and retries nothing.
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Where a server listens. */
export type Target = { readonly kind: 'tcp'; readonly port: number } | { readonly kind: 'unix'; readonly path: string };

/** What became of a request that was not answered. */
export interface Failure {
  readonly id: string;
  readonly kind: 'refused' | 'lost' | 'wrong' | 'twice';
  readonly detail: string;
  /** `tcp:` and the client's port: the server's log knows it by that. A Unix socket has no name. */
  readonly key: string | undefined;
  /** Who had answered on this connection before. */
  readonly owner: number | undefined;
  readonly target: Target['kind'];
}

export interface LoopOptions {
  readonly target: Target;
  readonly fresh: boolean;
  /** Milliseconds between two requests, at most. */
  readonly think: number;
  /** Milliseconds the server takes to answer. */
  readonly takes?: number;
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
    clearTimeout(timer);
  }

  async #run({ target, fresh, think, takes = 0 }: LoopOptions): Promise<void> {
    let connection = this.#connection(target);
    while (!this.#isStopped) {
      if (connection.isClosed) connection = this.#connection(target);
      const isRight = await this.#request(connection, takes, fresh);
      await pause(isRight ? Math.random() * think : PAUSE_AFTER_FAILURE);
    }
    connection.close();
  }

  #connection(target: Target): Connection {
    return new Connection(target, (failure) => this.failures.push(failure));
  }

  async #request(connection: Connection, takes: number, isLast: boolean): Promise<boolean> {
    const id = `${this.#prefix}-${this.requests++}`;
    this.#open.add(connection);
    const outcome = await connection.ask(id, takes, isLast);
    this.#open.delete(connection);
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

/** One connection, one request at a time. Connects at the first. */
class Connection {
  readonly #target: Target;
  readonly #onUnasked: (failure: Failure) => void;
  #socket: Socket | undefined;
  #isConnected = false;
  #key: string | undefined;
  #owner: number | undefined;
  #text = '';
  #settle: ((outcome: number | { kind: Failure['kind']; detail: string }) => void) | undefined;
  isClosed = false;

  constructor(target: Target, onUnasked: (failure: Failure) => void) {
    this.#target = target;
    this.#onUnasked = onUnasked;
  }

  /** Resolves with the pid of the process that gave the right answer, or with what went wrong. */
  async ask(id: string, takes: number, isLast: boolean): Promise<number | Failure> {
    const outcome = await new Promise<number | { kind: Failure['kind']; detail: string }>((resolve) => {
      this.#settle = resolve;
      this.#socket ??= this.#connect();
      const close = isLast ? 'Connection: close\r\n' : '';
      this.#socket.write(`GET /${id}?ms=${takes} HTTP/1.1\r\nHost: localhost\r\n${close}\r\n`);
    });
    this.#settle = undefined;
    if (typeof outcome === 'number') {
      const [pid, answered] = this.#text.split('\r\n\r\n')[1]?.split(' ') ?? [];
      const says = /\r\nconnection: close\r\n/i.test(this.#text);
      this.#text = '';
      this.#owner = Number(pid);
      if (says) this.close();
      if (answered === id) return Number(pid);
      return this.#failure(id, { kind: 'wrong', detail: `the answer to ${answered}` });
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

  #failure(id: string, outcome: { kind: Failure['kind']; detail: string }): Failure {
    this.close();
    return { id, ...outcome, key: this.#key, owner: this.#owner, target: this.#target.kind };
  }

  #connect(): Socket {
    const target = this.#target;
    const socket = target.kind === 'tcp' ? connect({ port: target.port, host: '127.0.0.1' }) : connect(target.path);
    socket.setNoDelay();
    socket.on('connect', () => {
      this.#isConnected = true;
      if (target.kind === 'tcp') this.#key = `tcp:${socket.localPort}`;
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

  #end(outcome: { kind: Failure['kind']; detail: string }): void {
    this.isClosed = true;
    this.#socket?.destroy();
    this.#settle?.(outcome);
  }
}
