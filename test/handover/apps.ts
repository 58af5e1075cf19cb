// Programs of which the test runs the inside: every generation of a chain dials the test, which sends it functions to
// run, as browser tests do with a page. The functions travel as text: they see their arguments and Node's globals,
// nothing of the file they stand in.
import { randomUUID } from 'node:crypto';
import type { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { aroundEach } from 'vitest';
import type * as lib from '../../lib/index.js';
import { type Followed, type Program, type Programs, type StartOptions, usePrograms } from '../helpers/programs.js';

type Listenable = lib.Listener & { release(): void };

/** What a function that runs in a program gets: fixtures/app.mjs. */
export interface Inside {
  readonly lib: typeof lib;
  handover: lib.Handover;
  /** The servers made by `create` and `listen`, by kind. */
  readonly servers: Record<string, Listenable>;
  /** Values from one function to the next. */
  readonly kept: Record<string, unknown>;
  /** `import()`, which the text of a function cannot hold. */
  load(specifier: string): Promise<unknown>;
  /** Tells the test something: {@link App.said}. */
  say(name: string, payload?: unknown): void;
  create(kind: Kind, options?: object): Server & DatagramSocket & { release(): void };
  open(options?: lib.HandoverOptions): Promise<lib.Handover>;
  listen(kind: Kind, address: lib.ListenOptions, options?: object): Promise<lib.Listening>;
  /** `number: what it is`, as /proc names it. */
  descriptors(): string[];
  children(): number[];
}

/** The servers of fixtures/servers.mjs. */
export type Kind = 'http' | 'https' | 'h2c' | 'h2' | 'tls' | 'net' | 'udp4' | 'udp6';

type Work<A extends readonly unknown[], R> = (inside: Inside, ...args: A) => R | Promise<R>;

/**
 * What `descriptors()` gave, without the numbers of the reserve (lib/resources/reserve.ts): it is given up and taken anew
 * with each attempt.
 */
export function exceptReserveNumbers(descriptors: readonly string[]): string[] {
  return descriptors.map((line) => line.replace(/^(?![012]:)\d+: \/dev\/null$/, 'reserve: /dev/null')).sort();
}

/** A function and its arguments, to be run by a process as soon as it has dialled. */
export interface Boot {
  readonly source: string;
  readonly args: readonly unknown[];
}

export function boot<A extends readonly unknown[]>(work: Work<A, unknown>, ...args: A): Boot {
  return { source: work.toString(), args };
}

/** What a function in a program threw, field by field. */
export class InsideError extends Error {
  constructor(fields: { readonly message?: string }) {
    super(fields.message);
    Object.assign(this, fields);
  }
}

interface Said {
  readonly name: string;
  readonly payload: unknown;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** One generation. */
export class App {
  readonly pid: number;
  readonly process: Followed;
  /** Resolves when its boot function has returned. */
  readonly booted: Promise<unknown>;
  readonly #socket: Socket;
  readonly #older: readonly App[];
  readonly #calls = new Map<number, Waiting>();
  readonly #said: Said[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #end: Promise<void>;
  #ended = false;
  #count = 0;

  constructor(socket: Socket, process: Followed, boot: Boot, older: readonly App[]) {
    this.pid = process.pid;
    this.process = process;
    this.#socket = socket;
    this.#older = older;
    this.#end = new Promise((resolve) => socket.once('close', () => resolve()));
    this.booted = this.#call(boot.source, boot.args);
    this.booted.catch(() => {});
  }

  /** Runs a function in the program; rejects with what it throws, or when the program ends before it returns. */
  run<A extends readonly unknown[], R>(work: Work<A, R>, ...args: A): Promise<Awaited<R>> {
    return this.#call(work.toString(), args) as Promise<Awaited<R>>;
  }

  upgrade(): Promise<lib.UpgradeOutcome> {
    return this.run(({ handover }) => handover.upgrade());
  }

  /** Everything the program said so far under a name; handover events are `handover:…`. */
  allSaid(name: string): unknown[] {
    return this.#said.filter((said) => said.name === name).map(({ payload }) => payload);
  }

  /** The names and payloads of its handover events, in their order. */
  get events(): [string, unknown][] {
    return this.#said
      .filter(({ name }) => name.startsWith('handover:'))
      .map(({ name, payload }) => [name.slice('handover:'.length), payload]);
  }

  /** The first thing the program said, or is to say, under this name. */
  async said<T>(name: string, times = 1): Promise<T> {
    for (;;) {
      const found = this.allSaid(name);
      if (found.length >= times) return found[times - 1] as T;
      if (this.#ended)
        throw new Error(`process ${this.pid} ended without saying ${name}: ${JSON.stringify(this.#said)}`);
      await new Promise<void>((resolve) => {
        const listener = (): void => {
          this.#listeners.delete(listener);
          resolve();
        };
        this.#listeners.add(listener);
      });
    }
  }

  /** Resolves when the process has gone, and all it said is here. */
  async gone(): Promise<void> {
    await this.process.gone();
    await this.#end;
  }

  /** Closes the handover, as the app's own code would, and waits until it and those before it have ended by themselves. */
  async close(): Promise<void> {
    await this.run(({ handover }) => void handover.close());
    await Promise.all([this, ...this.#older].map((app) => app.gone()));
  }

  receive(message: { type: string; id: number; value: unknown; error: { message?: string } } & Said): void {
    const call = this.#calls.get(message.id);
    if (message.type === 'said') {
      this.#said.push({ name: message.name, payload: message.payload });
      for (const listener of this.#listeners) listener();
    }
    if (message.type === 'done') call?.resolve(message.value);
    if (message.type === 'failed') call?.reject(new InsideError(message.error));
    if (call) this.#calls.delete(message.id);
  }

  end(): void {
    this.#ended = true;
    for (const call of this.#calls.values()) call.reject(new Error(`process ${this.pid} ended before it answered`));
    this.#calls.clear();
    for (const listener of this.#listeners) listener();
  }

  #call(source: string, args: readonly unknown[]): Promise<unknown> {
    const id = this.#count++;
    const answer = new Promise<unknown>((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    if (this.#ended) this.end();
    else this.#socket.write(`${JSON.stringify({ id, source, args })}\n`);
    return answer;
  }
}

/** A first process and all its successors. */
export interface Chain {
  readonly program: Program;
  /** The process of this number, from 1, as soon as it has dialled. */
  generation(number: number): Promise<App>;
}

export interface Apps extends Programs {
  /**
   * Starts the first process and waits until it has booted. The n-th process runs the n-th function, every further one
   * the last.
   */
  chain(boots: Boot | readonly Boot[], options?: StartOptions): Promise<{ chain: Chain; first: App }>;
  /** The same without waiting, for what is started in another way: `start` gets the environment to add. */
  dialled(
    boots: Boot | readonly Boot[],
  ): Promise<{ env: NonNullable<StartOptions['env']>; generation: Chain['generation'] }>;
}

const FIXTURE = new URL('fixtures/app.mjs', import.meta.url);

/** `usePrograms()`, and programs the test runs the inside of. Call it after `expectNoLeaks()`. */
export function useApps(): Apps {
  const hubs = new Set<Hub>();
  // Outside of usePrograms: a program ends when its hub does, and one left running is to be noticed before.
  aroundEach(async (runTest) => {
    await runTest();
    await Promise.all([...hubs].map((hub) => hub.close()));
    hubs.clear();
  });
  const programs = usePrograms();
  const { start, follow } = programs;

  const dialled = async (
    boots: Boot | readonly Boot[],
  ): Promise<{ env: NonNullable<StartOptions['env']>; generation: Chain['generation'] }> => {
    const hub = new Hub('source' in boots ? [boots] : boots, follow);
    hubs.add(hub);
    const path = await hub.listen();
    // Unset: Node 24 and 26 read that file in a thread, at a time of their own, and descriptors are counted here.
    const env = { HANDOVER_TEST_HUB: path, NODE_EXTRA_CA_CERTS: undefined };
    return { env, generation: (number) => hub.app(number - 1) };
  };

  return {
    ...programs,
    dialled,
    async chain(boots, options = {}) {
      const { env, generation } = await dialled(boots);
      const program = start(FIXTURE, { ...options, env: { ...options.env, ...env } });
      // A program that ends before it dials: its stderr says why, the wait for it alone would not.
      const ended = program.exit(60_000).then(({ code, signal }) => {
        throw new Error(`ended with ${signal ?? code} before it dialled:\n${program.stderr}`);
      });
      ended.catch(() => {});
      const first = await Promise.race([generation(1), ended]);
      await first.booted;
      return { chain: { program, generation }, first };
    },
  };
}

class Hub {
  readonly #server: Server;
  readonly #boots: readonly Boot[];
  readonly #apps: App[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #follow: (pid: number) => Followed;
  readonly #waiting = new Set<() => void>();

  constructor(boots: readonly Boot[], follow: (pid: number) => Followed) {
    this.#boots = boots;
    this.#follow = follow;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async listen(): Promise<string> {
    const path = join(tmpdir(), `handover-test-${randomUUID()}.sock`);
    this.#server.listen(path);
    await once(this.#server, 'listening');
    return path;
  }

  async app(index: number): Promise<App> {
    for (;;) {
      const app = this.#apps[index];
      if (app) return app;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    let app: App | undefined;
    socket.on('error', () => {});
    const lines = createInterface({ input: socket });
    // It repeats those of the socket.
    lines.on('error', () => {});
    lines.on('line', (line) => {
      const message = JSON.parse(line);
      if (app) return app.receive(message);
      const boot = this.#boots[Math.min(this.#apps.length, this.#boots.length - 1)] as Boot;
      app = new App(socket, this.#follow(message.pid), boot, [...this.#apps]);
      this.#apps.push(app);
      for (const resolve of this.#waiting) resolve();
      this.#waiting.clear();
    });
    // readline passes errors of its input on; the end comes all the same.
    lines.on('error', () => {});
    lines.on('close', () => app?.end());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      app?.end();
    });
  }
}
