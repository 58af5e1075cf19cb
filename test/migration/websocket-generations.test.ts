// G3: WebSockets through handovers of real processes: the client of `ws` and raw ones, numbered messages both ways.
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type PerMessageDeflateOptions, WebSocket } from 'ws';
import { type App, type Boot, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Drained, portOf, replace } from './generations.js';
import { frame, SocketWire } from './websockets.js';

expectNoLeaks();
const { chain } = useApps();

interface Setting {
  readonly optsIn?: boolean;
  readonly generic?: boolean;
  readonly deflate?: boolean | PerMessageDeflateOptions;
  readonly handover?: object;
  /** Milliseconds for `save`. */
  readonly saveTakes?: number;
}

/**
 * Counts for each client what it said; answers `pid:count:message`; `broadcast(text)` says it to all. Both with the number
 * of the last word to this client before it, so that one that is lost or doubled shows.
 */
function generation(setting: Setting = {}): Boot {
  return boot(async (inside, { optsIn = true, generic = false, deflate = false, handover = {}, saveTakes }) => {
    const http = process.getBuiltinModule('node:http');
    const require = process.getBuiltinModule('node:module').createRequire(`${process.cwd()}/`);
    const { WebSocketServer } = require('ws') as typeof import('ws');
    const { isMigrated, migrateUpgrades, migrateWebSockets } = require('handover/websocket');
    interface Memory {
      heard: number;
      said: number;
    }
    const web = http.createServer((_, response) => response.end('http'));
    const wss = new WebSocketServer({ server: web, perMessageDeflate: deflate });
    const memories = new Map<unknown, Memory>();
    const say = (ws: import('ws').WebSocket, text: string): void => {
      const memory = memories.get(ws);
      if (memory) ws.send(`${++memory.said} ${process.pid} ${memory.heard} ${text}`);
    };
    wss.on('connection', (ws, request) => {
      memories.set(generic ? request.socket : ws, { heard: 0, said: 0 });
      if (generic) memories.set(ws, memories.get(request.socket) as Memory);
      inside.say(isMigrated(request) ? 'again' : 'new', request.url);
      ws.on('message', (message: Buffer) => {
        (memories.get(ws) as Memory).heard += 1;
        say(ws, String(message).slice(0, 100));
      });
      ws.on('close', (code) => inside.say('close', code));
    });
    inside.kept.broadcast = (text: string) => {
      for (const ws of wss.clients) say(ws, text);
    };
    await inside.open({ probation: { duration: 0 }, drain: { timeout: 5_000, spread: 200 }, ...handover });
    const movers = {
      save: async (key: unknown) => {
        if (saveTakes) await new Promise((resolve) => setTimeout(resolve, saveTakes));
        return memories.get(key);
      },
      restore: (key: unknown, memory: Memory) => Object.assign(memories.get(key) as Memory, memory),
    };
    if (optsIn && !generic) migrateWebSockets(inside.handover, wss, movers);
    inside.say('listening', await inside.handover.listen(web, { name: 'web', port: 0, host: '127.0.0.1' }));
    if (optsIn && generic) migrateUpgrades(inside.handover, web, movers);
    await inside.handover.ready();
  }, setting);
}

/** A client of `ws` that talks all the time: each word numbered, each answer looked at. */
class Talker {
  readonly ws: WebSocket;
  readonly faults: string[] = [];
  readonly pids = new Set<number>();
  readonly broadcasts: string[] = [];
  code: number | undefined;
  #said = 0;
  #answered = 0;
  #heard = 0;
  #isTalking = true;

  readonly #padding: string;

  constructor(port: number, paddingBytes = 0) {
    this.#padding = ' '.repeat(paddingBytes);
    this.ws = new WebSocket(`ws://127.0.0.1:${port}/talk`);
    this.ws.on('message', (data) => this.#onMessage(String(data)));
    this.ws.on('close', (code) => {
      this.code = code;
    });
    this.ws.on('error', ({ message }) => this.faults.push(message));
  }

  async open(): Promise<this> {
    await once(this.ws, 'open');
    for (let i = 0; i < 3; i++) this.#say();
    return this;
  }

  /** Stops talking, and waits for the last answer. */
  async quiet(): Promise<void> {
    this.#isTalking = false;
    await until(() => this.#answered === this.#said || this.code !== undefined, { what: 'the last answer' });
  }

  async answeredBy(pid: number): Promise<void> {
    await until(() => this.pids.has(pid) || this.code !== undefined, { what: `an answer of ${pid}` });
  }

  #say(): void {
    this.ws.send(`w${this.#said++} ${this.#padding}`);
  }

  #onMessage(text: string): void {
    const [said, pid, heard, word] = text.split(' ');
    this.pids.add(Number(pid));
    if (Number(said) !== ++this.#heard) this.faults.push(`message ${this.#heard} of the server was ${text}`);
    if (word?.startsWith('all')) {
      this.broadcasts.push(word);
      return;
    }
    if (word !== `w${this.#answered}` || Number(heard) !== ++this.#answered) {
      this.faults.push(`answer ${this.#answered} was ${text}`);
    }
    if (this.#isTalking) this.#say();
  }
}

async function talkers(app: App, count: number, paddingBytes = 0): Promise<Talker[]> {
  const port = await portOf(app);
  return Promise.all(Array.from({ length: count }, () => new Talker(port, paddingBytes).open()));
}

function expectWhole(clients: readonly Talker[]): void {
  expect(clients.flatMap(({ faults }) => faults)).toEqual([]);
  expect(clients.map(({ code }) => code)).toEqual(clients.map(() => undefined));
}

async function end(app: App, clients: readonly Talker[]): Promise<void> {
  for (const { ws } of clients) ws.terminate();
  await app.close();
}

const broadcast = (app: App, text: string): Promise<void> =>
  app.run(({ kept }, text) => (kept.broadcast as (text: string) => void)(text), text);

const STATELESS = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 };

it.each<[string, Setting, number, number?]>([
  ['five', {}, 5],
  ['ten', {}, 10],
  ['three, each save in 30 ms,', { saveTakes: 30 }, 3],
  ['three, as any server on upgrade,', { generic: true }, 3],
  ['three, with big messages,', {}, 3, 150_000],
  ['three, compressed,', { deflate: STATELESS }, 3, 3_000],
])('G3: %s handovers: no message lost, doubled or out of order in either direction', async (_, setting, count, paddingBytes) => {
  const { chain: processes, first } = await chain(generation(setting));
  const clients = await talkers(first, 20, paddingBytes);
  let app = first;
  for (let number = 2; number <= count + 1; number++) {
    await broadcast(app, `all-${number}`);
    const next = await replace(processes, app, number);
    expect(next.drained).toMatchObject({ moved: clients.length, cut: 0 });
    expect(app.allSaid('close')).toEqual([]);
    app = next.app;
    for (const client of clients) await client.answeredBy(app.pid);
  }
  for (const client of clients) await client.quiet();
  expectWhole(clients);
  expect(clients.every(({ broadcasts }) => broadcasts.length === count)).toBe(true);
  await end(app, clients);
});

describe('without opting in', () => {
  it('G3: 1012, not to all at once, and no sooner than a message is whole', async () => {
    const { chain: processes, first } = await chain(
      generation({ optsIn: false, handover: { drain: { timeout: 5_000, spread: 600 } } }),
    );
    const port = await portOf(first);
    const clients = await Promise.all(Array.from({ length: 12 }, () => new SocketWire(port).open()));
    const start = performance.now();
    const ends = clients.map(async (client) => {
      expect(await client.sentAway()).toBe(1012);
      return performance.now() - start;
    });
    const { app, drained } = await replace(processes, first, 2);
    const times = (await Promise.all(ends)).sort((a, b) => a - b);
    expect((times.at(-1) as number) - (times[0] as number)).toBeGreaterThan(150);
    expect(drained).toMatchObject({ moved: 0, cut: 0 });
    expect(first.allSaid('close')).toEqual(clients.map(() => 1012));
    await app.close();
  });
});

describe('a new release', () => {
  it('G3: with deflate is refused by a client that was promised none, which gets 1012 from the old one', async () => {
    const { chain: processes, first } = await chain([generation(), generation({ deflate: true })]);
    const [client] = (await talkers(first, 1)) as [Talker];
    const { app, drained } = await replace(processes, first, 2);
    expect(drained).toMatchObject({ moved: 0, cut: 0 });
    await until(() => client.code !== undefined, { what: 'the end' });
    expect([client.code, client.faults, first.allSaid('close')]).toEqual([1012, [], [1012]]);
    await app.close();
  });

  it('G3: without the opt-in: the same', async () => {
    const { chain: processes, first } = await chain([generation(), generation({ optsIn: false })]);
    const clients = await talkers(first, 3);
    const { app } = await replace(processes, first, 2);
    await until(() => clients.every(({ code }) => code !== undefined), { what: 'the end' });
    expect(clients.map(({ code, faults }) => [code, faults])).toEqual(clients.map(() => [1012, []]));
    await app.close();
  });
});

it('G3: pings, fragments, half messages and closing handshakes at the moment of the move', async () => {
  const { chain: processes, first } = await chain(generation());
  const port = await portOf(first);
  const [half, fragmented, pinged, closing] = (await Promise.all(
    Array.from({ length: 4 }, () => new SocketWire(port).open()),
  )) as [SocketWire, SocketWire, SocketWire, SocketWire];
  const text = frame('text', 'half');
  half.send(text.subarray(0, 8));
  fragmented.send(frame('text', 'frag', { fin: false }));
  const upgraded = first.upgrade();
  pinged.send(frame('ping', 'p'));
  closing.send(frame('close', Buffer.of(0x03, 0xe8)));
  await upgraded;
  const app = await processes.generation(2);
  expect(await pinged.frame()).toMatchObject({ opcode: 'pong' });
  expect(await closing.sentAway()).toBe(1000);
  half.send(text.subarray(8));
  fragmented.send(frame('continuation', 'ment'));
  expect(await half.text()).toBe(`1 ${first.pid} 1 half`);
  expect(await fragmented.text()).toBe(`1 ${first.pid} 1 fragment`);
  expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 3, cut: 0 });
  await first.gone();
  expect(await half.asked('x')).toBe(`2 ${app.pid} 2 x`);
  expect(await fragmented.asked('x')).toBe(`2 ${app.pid} 2 x`);
  expect(await pinged.asked('x')).toBe(`1 ${app.pid} 1 x`);
  for (const client of [half, fragmented, pinged]) client.close();
  await app.close();
});
