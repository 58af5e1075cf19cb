// A server and its successors, and the clients whose connections go from one to the next.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Told } from '../lib/told.js';

/** One client process holds at most so many: their number of descriptors is limited. */
const HELD_BY_ONE = 2_500;

/** One handover, in microseconds for all of its connections. */
export interface Handover {
  /** From the first OFFER to the last GO. */
  readonly transferUs: number;
  /** From COMMIT until the predecessor has none left and the successor has them all. */
  readonly totalUs: number;
  readonly longestDelayMs: number;
}

interface Line {
  readonly event: 'serving' | 'moved' | 'adopted' | 'failed';
  readonly pid: number;
  readonly port: number;
  readonly moved: number;
  readonly cut: number;
  readonly message: string;
  readonly longestDelay: number;
  readonly [time: string]: unknown;
}

export class Chain {
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;
  #pid: number;
  port = 0;

  constructor() {
    const program = fileURLToPath(new URL('server.mjs', import.meta.url));
    this.#child = spawn(process.execPath, [program, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#exit = once(this.#child, 'exit');
    this.#pid = this.#child.pid ?? 0;
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  async start(): Promise<void> {
    const [{ port }] = await this.#expect('serving');
    this.port = port;
  }

  /** Hands over to the next process. @throws Error not every connection moved */
  async handOver(connections: number): Promise<Handover> {
    process.kill(this.#pid, 'SIGUSR2');
    const [serving, moved, adopted] = await this.#expect('serving', 'moved', 'adopted');
    this.#pid = serving.pid;
    if (moved.moved !== connections || moved.cut !== 0) {
      throw new Error(`${moved.moved} of ${connections} connections moved, ${moved.cut} were cut`);
    }
    const settled = Math.max(Number(moved.settled), Number(adopted.adopted));
    return {
      transferUs: (Number(moved.lastGo) - Number(moved.firstOffer)) / 1_000,
      totalUs: (settled - Number(moved.commit)) / 1_000,
      longestDelayMs: adopted.longestDelay / 1e6,
    };
  }

  async end(): Promise<void> {
    // The first process may have ended long ago, or be the one that serves.
    try {
      process.kill(this.#pid, 'SIGTERM');
    } catch {
      // Gone: it has said why on stderr.
    }
    await this.#exit;
    // The end of stdout: no generation holds it any more.
    while (!(await this.#lines.next()).done);
  }

  /** One line of each, in any order. */
  async #expect<const E extends readonly Line['event'][]>(...events: E): Promise<{ [K in keyof E]: Line }> {
    const found = new Map<string, Line>();
    while (events.some((event) => !found.has(event))) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`the server ended before it said ${events.join(', ')}`);
      const line = JSON.parse(value) as Line;
      if (line.event === 'failed') throw new Error(`the handover failed: ${line.message}`);
      found.set(line.event, line);
    }
    return events.map((event) => found.get(event)) as { [K in keyof E]: Line };
  }
}

/** A server without this package. */
export class Plain {
  readonly #told: Told;
  port = 0;
  tlsPort = 0;

  constructor(key = '', cert = '') {
    this.#told = new Told(new URL('plain.mjs', import.meta.url), { args: [key, cert] });
  }

  async start(): Promise<void> {
    ({ port: this.port, tlsPort: this.tlsPort } = await this.#told.tell<{ port: number; tlsPort: number }>());
  }

  async end(): Promise<void> {
    await this.#told.end();
  }
}

interface Client {
  readonly told: Told;
  readonly share: number;
  readonly localAddress: string;
}

/** As many client processes as so many connections need, each with a source address of its own. */
export class Clients {
  readonly #clients: readonly Client[];
  readonly connections: number;

  constructor(connections: number, firstAddress: number) {
    this.connections = connections;
    const count = Math.ceil(connections / HELD_BY_ONE);
    this.#clients = Array.from({ length: count }, (_, i) => ({
      told: new Told(new URL('client.mjs', import.meta.url)),
      share: Math.floor((connections + i) / count),
      localAddress: `127.0.0.${firstAddress + i}`,
    }));
  }

  async open(port: number): Promise<void> {
    await this.#all(({ told, share, localAddress }) => told.tell({ do: 'open', count: share, port, localAddress }));
  }

  /** One request on every connection. @throws Error the server has closed one */
  async ask(): Promise<void> {
    await this.#all(({ told }) => told.tell({ do: 'ask' }));
  }

  /** Microseconds a connection to make so many new ones. */
  async reconnect(port: number, count: number, isTls: boolean): Promise<number> {
    const share = Math.ceil(count / this.#clients.length);
    const answers = await this.#all(({ told, localAddress }) =>
      told.tell<{ ns: number }>({ do: 'reconnect', count: share, port, localAddress, isTls }),
    );
    return Math.max(...answers.map(({ ns }) => ns)) / 1_000 / (share * this.#clients.length);
  }

  /** Microseconds of requests one at a time: the first on moved connections, and others on ordinary ones. */
  async probe(port: number, count: number): Promise<{ readonly first: number[]; readonly ordinary: number[] }> {
    const [client] = this.#clients;
    if (!client) throw new Error('no client');
    return await client.told.tell({ do: 'probe', count, port, localAddress: client.localAddress });
  }

  /** Requests a second on so many connections. */
  async load(port: number, connections: number, ms: number): Promise<number> {
    const [client] = this.#clients;
    if (!client) throw new Error('no client');
    return (await client.told.tell<{ perSecond: number }>({ do: 'load', port, connections, ms })).perSecond;
  }

  async end(): Promise<void> {
    await this.#all(({ told }) => told.end());
  }

  #all<T>(act: (client: Client) => Promise<T>): Promise<T[]> {
    return Promise.all(this.#clients.map(act));
  }
}
