// A client: asks its pace when the next request begins, keeps a connection for it, and reports the outcome.
import { Connection, type Exchange, type Owner, type Surroundings } from './connection.js';
import type { Identifier } from './identify.js';
import type { Loss } from './outcome.js';
import type { Pace } from './pace.js';
import type { Plan } from './plan.js';
import type { RequestText } from './request.js';
import { type HeadCache, ResponseReader } from './response.js';

/** Pause of a closed loop after a failed connection: without it, a refusing port would make the loop spin. */
const PAUSE_AFTER_LOSS = 20;

/** Shared by the clients of a thread. */
export interface ClientContext extends Surroundings {
  readonly plan: Plan;
  readonly pace: Pace;
  readonly text: RequestText;
  readonly heads: HeadCache;
  readonly naps: Naps;
  readonly identifier: Identifier | undefined;
  nextNumber(): number;
  /** Called when a client has made its last request. */
  finished(): void;
}

/** Waits that a stop ends early. */
export class Naps {
  readonly #naps = new Map<NodeJS.Timeout, () => void>();
  #isOver = false;

  after(time: number, wake: () => void): void {
    if (this.#isOver) {
      wake();
      return;
    }
    const timer = setTimeout(() => {
      this.#naps.delete(timer);
      wake();
    }, time);
    this.#naps.set(timer, wake);
  }

  end(): void {
    this.#isOver = true;
    // The last client to wake up calls this again.
    const naps = [...this.#naps];
    this.#naps.clear();
    for (const [timer, wake] of naps) {
      clearTimeout(timer);
      wake();
    }
  }
}

/** The part common to all kinds of clients; each kind sends a round of requests in its own way. */
export abstract class Client implements Owner {
  protected readonly context: ClientContext;
  protected readonly reader: ResponseReader;
  protected connection: Connection | undefined;
  #session: Buffer | undefined;
  #hadItClosed = false;
  /** The server that answered last on this connection, and all servers that did. */
  #server: string | undefined;
  readonly #servers = new Set<string>();
  #isInRound = false;
  #hasFailed = false;
  /** Requests of this round that are not settled yet. */
  #open = 0;
  /** Requests of this round for which this machine had no connection. */
  #unmade: Exchange[] = [];
  readonly #start = (intendedAt: number): void => this.#begin(intendedAt);
  readonly #finished = (): void => this.#end();
  readonly #again = (): void => this.context.pace.next(this.#start, this.#finished);

  constructor(context: ClientContext) {
    const { heads, plan, judge, identifier } = context;
    this.context = context;
    const keepsBody = judge.needsBody || identifier?.needsBody === true;
    this.reader = new ResponseReader(heads, plan.request.method === 'HEAD', keepsBody);
  }

  run(): void {
    this.#again();
  }

  /** Sends the requests of one round. */
  protected abstract send(connection: Connection, exchanges: readonly Exchange[]): void;

  /** Requests of one round. */
  protected get depth(): number {
    return 1;
  }

  /** Whether a connection serves one round only; `announced`: its requests also carry `Connection: close`. */
  protected get ends(): 'never' | 'silently' | 'announced' {
    return this.context.text.closes ? 'announced' : 'never';
  }

  protected get pause(): number {
    return this.context.plan.rate === undefined ? this.context.plan.think : 0;
  }

  protected get surroundings(): Surroundings {
    return this.context;
  }

  answered(exchange: Exchange, reader: ResponseReader): void {
    this.succeed(exchange, this.context.identifier?.inResponse(reader));
  }

  protected succeed(exchange: Exchange, identity: string | undefined): void {
    const now = this.context.clock();
    this.context.tally.ok(now - exchange.intendedAt, now, identity);
    if (identity !== undefined && identity !== this.#server) this.#servedBy(identity);
    this.#open--;
  }

  lost(exchange: Exchange, loss: Loss): void {
    this.context.tally.lost(loss, exchange.number, this.context.clock());
    this.#hasFailed = true;
    this.#open--;
  }

  notMade(exchange: Exchange): void {
    this.#unmade.push(exchange);
  }

  session(session: Buffer): void {
    this.#session = session;
  }

  idle(): void {
    if (!this.#isInRound || this.#open > 0) return;
    if (this.ends !== 'never') {
      this.connection?.close();
      return;
    }
    this.#hasFailed = false;
    this.#rest();
  }

  ended(byServer: boolean): void {
    this.connection = undefined;
    this.#hadItClosed = byServer && this.ends === 'never';
    if (this.#hadItClosed && this.#server !== undefined) this.context.tally.fate(this.#server, null);
    if (this.#unmade.length > 0) this.#retry();
    else if (this.#isInRound && this.#open === 0) this.#rest();
  }

  upgraded(_bytes: Buffer): void {
    this.connection?.close({ kind: 'wrongBody', detail: 'an upgrade that the client had not asked for' });
  }

  #begin(intendedAt: number): void {
    const { pace } = this.context;
    const exchanges = [this.#exchange(intendedAt)];
    for (let more = this.depth - 1; more > 0; more--) {
      const next = pace.another();
      if (next === undefined) break;
      exchanges.push(this.#exchange(next));
    }
    this.#isInRound = true;
    this.#open = exchanges.length;
    this.#launch(exchanges);
  }

  #exchange(intendedAt: number): Exchange {
    const number = this.context.nextNumber();
    return { number, intendedAt, closes: this.ends === 'announced', deadline: Number.POSITIVE_INFINITY, write: 0 };
  }

  #launch(exchanges: readonly Exchange[]): void {
    if (this.connection === undefined) {
      if (this.#hadItClosed) this.context.tally.counts.reconnects++;
      this.#hadItClosed = false;
      this.#server = undefined;
      this.#servers.clear();
      this.connection = new Connection(this.surroundings, this, this.reader, this.#session);
    }
    this.send(this.connection, exchanges);
  }

  /** Counts each server once for a connection: behind a gateway the same few servers may answer in turn. */
  #servedBy(identity: string): void {
    if (this.#server !== undefined && !this.#servers.has(identity)) this.context.tally.fate(this.#server, identity);
    this.#servers.add(identity);
    this.#server = identity;
  }

  #retry(): void {
    const exchanges = this.#unmade.splice(0);
    const { plan, tally, clock } = this.context;
    const waited = clock() - (exchanges[0]?.intendedAt ?? 0);
    if (waited < plan.answerTimeout) {
      setTimeout(() => this.#launch(exchanges), PAUSE_AFTER_LOSS);
      return;
    }
    for (const { number } of exchanges) tally.notSent(number);
    this.#open = 0;
    this.#rest();
  }

  /** Between two rounds. */
  #rest(): void {
    this.#isInRound = false;
    const failed = this.#hasFailed && this.context.plan.rate === undefined;
    this.#hasFailed = false;
    const pause = failed ? Math.max(PAUSE_AFTER_LOSS, this.pause) : this.pause;
    if (pause > 0) this.context.naps.after(pause, this.#again);
    else this.#again();
  }

  #end(): void {
    this.connection?.close();
    this.context.finished();
  }
}
