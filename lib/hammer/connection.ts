// One socket of an HTTP client: it settles each request exactly once, and distinguishes all ways for a connection to end.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Deadlines } from './deadlines.js';
import { type End, isOwnFault, isReset, type Judge, judgeEnd, type Loss, type Progress } from './outcome.js';
import type { Target } from './plan.js';
import type { ResponseReader } from './response.js';
import type { Tally } from './tally.js';
import { type Dialer, wasReset } from './transport.js';

/** A request on its way. */
export interface Exchange {
  /** Unique in the run; the first is 1. */
  readonly number: number;
  /** When the request should have begun; its latency counts from here. */
  intendedAt: number;
  /** Whether the request carries `Connection: close`. */
  readonly closes: boolean;
  /** When the request counts as unanswered: a timeout after the connect or after its write. */
  deadline: number;
  /** Number of the write that completes the request; 0 while it is half sent. */
  write: number;
}

/** The client that makes requests on a connection. */
export interface Owner {
  answered(exchange: Exchange, reader: ResponseReader): void;
  lost(exchange: Exchange, loss: Loss): void;
  /** This machine could not connect, so the request was never made. */
  notMade(exchange: Exchange): void;
  /** A TLS session that a later connection may resume. */
  session(session: Buffer): void;
  /** Every request is settled, and the connection is open. */
  idle(): void;
  /** The connection is over, and every request settled; `byServer`: the client had not asked for it. */
  ended(byServer: boolean): void;
  /** Called after a 101 with bytes that are not HTTP. */
  upgraded(bytes: Buffer): void;
}

export interface Surroundings {
  readonly target: Target;
  readonly dialer: Dialer;
  readonly deadlines: Deadlines;
  readonly judge: Judge;
  readonly tally: Tally;
  readonly clock: () => number;
  readonly connectTimeout: number;
  readonly answerTimeout: number;
}

export class Connection {
  readonly #around: Surroundings;
  readonly #owner: Owner;
  readonly #reader: ResponseReader;
  readonly #socket: Socket;
  readonly #openedAt: number;
  readonly #queue: Exchange[] = [];
  #phase: Progress['phase'] = 'connecting';
  #isOver = false;
  #isHttp = true;
  #writes = 0;
  /** Number of writes that the kernel has taken whole. */
  #written = 0;

  constructor(around: Surroundings, owner: Owner, reader: ResponseReader, session: Buffer | undefined) {
    this.#around = around;
    this.#owner = owner;
    this.#reader = reader;
    this.#openedAt = around.clock();
    reader.reset();
    this.#socket = around.dialer.dial((bytes) => this.#read(bytes), session);
    this.#listen(this.#socket);
    around.deadlines.add(this);
  }

  /** Sends requests in one write. */
  send(exchanges: readonly Exchange[], text: string): void {
    this.begin(exchanges);
    this.#write(exchanges, text);
  }

  /** Sends a part of a request, which {@link complete} ends. If the connection ends from here on, the request is lost. */
  begin(exchanges: readonly Exchange[], part?: string): void {
    this.#queue.push(...exchanges);
    if (part !== undefined) this.#write([], part);
  }

  /** Sends the rest of a request. False: the connection is over, so the request is settled already, or begins anew. */
  complete(exchange: Exchange, rest: string): boolean {
    if (!this.#isOver) this.#write([exchange], rest);
    return !this.#isOver;
  }

  /** Settles the first exchange as answered or lost. The owner of an upgraded connection calls it. */
  settle(loss: Loss | undefined): void {
    const exchange = this.#queue.shift();
    if (exchange === undefined) return;
    if (loss === undefined) this.#owner.answered(exchange, this.#reader);
    else this.#owner.lost(exchange, loss);
  }

  /** Closes the connection; requests in flight are lost by `loss`. */
  close(loss?: Loss): void {
    if (this.#isOver) return;
    this.#finish();
    if (loss !== undefined) for (const exchange of this.#queue.splice(0)) this.#owner.lost(exchange, loss);
    this.#owner.ended(false);
  }

  /** The server has announced in a protocol above HTTP that it closes: the close counts as the server's. */
  closedByPeer(): void {
    if (!this.#isOver) this.#ended({ by: 'fin' });
  }

  /** Counts bytes that arrived without a request. */
  unasked(length: number): void {
    const { tally, clock } = this.#around;
    tally.counts.unasked++;
    tally.lost({ kind: 'wrongBody', detail: `${length} bytes that no request had asked for` }, 0, clock());
    this.close();
  }

  /** Checks the deadlines; {@link Deadlines} calls it regularly. */
  check(now: number): void {
    const { connectTimeout, answerTimeout } = this.#around;
    if (this.#phase === 'connecting') {
      // Only the connect timeout counts: no server has the request yet.
      if (now - this.#openedAt > connectTimeout) this.#tooSlow();
      return;
    }
    const [first] = this.#queue;
    if (first === undefined || now < first.deadline) return;
    if (first.write === 0) return;
    this.close({ kind: 'unanswered', detail: `${this.#reader.receivedBytes} bytes in ${answerTimeout} ms` });
  }

  #listen(socket: Socket): void {
    socket.once('connect', () => this.#connected());
    socket.once('end', () => {
      // A destroyed socket had its TLS handshake cut off, and 'error' reports that next (onConnectEnd of _tls_wrap.js).
      if (this.#isOver || socket.destroyed) return;
      this.#ended(wasReset(socket, this.#around.target) ? RESET_BEHIND_DATA : { by: 'fin' });
    });
    // This handler stays: an error of an abandoned socket must not be uncaught, and is no loss.
    socket.on('error', (error) => {
      if (!this.#isOver) this.#ended({ by: 'error', error });
    });
    if (!this.#around.dialer.isTls) return;
    socket.once('secureConnect', () => this.#secured(socket as TLSSocket));
    socket.on('session', (session: Buffer) => this.#owner.session(session));
  }

  #connected(): void {
    if (this.#isOver) return;
    this.#around.tally.counts.opened++;
    this.#phase = this.#around.dialer.isTls ? 'securing' : 'open';
    const now = this.#around.clock();
    for (const exchange of this.#queue) if (exchange.write > 0) exchange.deadline = now + this.#around.answerTimeout;
    if (now - this.#openedAt > this.#around.connectTimeout) this.#tooSlow();
  }

  #secured(socket: TLSSocket): void {
    this.#phase = 'open';
    this.#around.tally.counts.handshakes++;
    if (socket.isSessionReused()) this.#around.tally.counts.resumed++;
  }

  #tooSlow(): void {
    this.#around.tally.counts.slowConnects++;
    this.close({ kind: 'refused', detail: `no connection within ${this.#around.connectTimeout} ms` });
  }

  #write(completed: readonly Exchange[], text: string): void {
    const write = ++this.#writes;
    const deadline = this.#around.clock() + this.#around.answerTimeout;
    for (const exchange of completed) {
      exchange.write = write;
      exchange.deadline = deadline;
    }
    this.#socket.write(text, 'latin1', this.#onWritten);
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (!error) this.#written++;
  };

  #read(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length && !this.#isOver) {
      if (!this.#isHttp) {
        this.#owner.upgraded(bytes.subarray(at));
        return;
      }
      const [exchange] = this.#queue;
      if (exchange === undefined) {
        this.unasked(bytes.length - at);
        return;
      }
      at = this.#reader.read(bytes, at);
      if (this.#reader.isOver) this.#answered(exchange, bytes.length - at);
    }
    if (this.#queue.length === 0 && !this.#isOver && this.#isHttp) this.#owner.idle();
  }

  /** Handles a whole or malformed answer; `surplus` bytes followed it. */
  #answered(exchange: Exchange, surplus: number): void {
    const { judge, tally } = this.#around;
    const { head, state } = this.#reader;
    const loss = judge.answer(this.#reader);
    if (state === 'malformed') {
      this.close(loss ?? { kind: 'wrongBody', detail: 'malformed' });
      return;
    }
    if (head.status === 101 && loss === undefined) {
      // The owner decides, and settles the exchange itself.
      this.#isHttp = false;
      this.#owner.upgraded(EMPTY);
      this.#reader.reset();
      return;
    }
    if (surplus > 0 && this.#queue.length === 1) {
      const detail = `${surplus} bytes after the end of the answer`;
      this.close(loss ?? { kind: 'wrongBody', detail });
      return;
    }
    this.settle(loss);
    this.#reader.reset();
    // The answer came before the request was whole: the server would take the rest for the next request.
    if (exchange.write === 0) {
      this.close();
      return;
    }
    if (!head.closes || this.#isOver) return;
    if (!exchange.closes) tally.counts.closedByServer++;
    this.#finish();
    this.#loseAll({ by: 'fin' });
    this.#owner.ended(!exchange.closes);
  }

  /** Handles an end by the server or the network. */
  #ended(end: End): void {
    const [first] = this.#queue;
    if (end.by === 'error' && this.#phase === 'connecting' && isOwnFault(end.error)) {
      this.#notMade();
      return;
    }
    if (end.by === 'error' && isReset(end.error)) this.#around.tally.counts.resets++;
    const isWhole = first !== undefined && end.by === 'fin' && this.#isHttp && this.#reader.end();
    const byServer = this.#phase !== 'connecting' && !(isWhole && first.closes);
    if (byServer) this.#around.tally.counts.closedByServer++;
    this.#finish();
    if (isWhole) {
      this.settle(this.#around.judge.answer(this.#reader));
      this.#reader.reset();
    }
    this.#loseAll(end);
    this.#owner.ended(byServer);
  }

  #loseAll(end: End): void {
    for (const exchange of this.#queue.splice(0)) {
      const isWritten = exchange.write > 0 && exchange.write <= this.#written;
      this.#owner.lost(exchange, judgeEnd(end, { phase: this.#phase, isWritten }, this.#reader));
      this.#reader.reset();
    }
  }

  #notMade(): void {
    this.#around.tally.counts.ownFaults++;
    this.#finish();
    for (const exchange of this.#queue.splice(0)) this.#owner.notMade(exchange);
    this.#owner.ended(false);
  }

  #finish(): void {
    this.#isOver = true;
    if (this.#phase !== 'connecting') this.#around.tally.counts.closed++;
    this.#around.deadlines.delete(this);
    this.#socket.destroy();
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
const RESET_BEHIND_DATA: End = {
  by: 'error',
  error: Object.assign(new Error('reset'), { code: 'ECONNRESET', syscall: 'read' }),
};
