// G3, G5: raw connections through handovers of real processes: at full speed in both directions, and back again. What a death
// or a stop in the middle of a batch costs is the same for all that migrates: faults.test.ts.
import { randomUUID } from 'node:crypto';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../fd/sandbox.js';
import { type App, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Drained, replace, type Strike } from './generations.js';
import { LineClient } from './lines.js';
import { type RawSetting, rawGeneration, targetOf } from './raw-generations.js';

expectNoLeaks();
const { chain } = useApps();

/** Sends and receives known bytes as fast as it goes; every one of those that come is looked at. */
class StreamClient {
  readonly socket: Socket;
  sent = 0;
  received = 0;
  mismatch: string | undefined;
  ended = false;
  #isSending = true;

  constructor(target: NetConnectOpts) {
    this.socket = connect({ allowHalfOpen: true, ...target });
    this.socket.write('stream\n');
    this.socket.on('drain', () => this.#send());
    this.socket.on('data', (chunk: Buffer) => {
      const expected = numbered(this.received, chunk.length);
      if (!chunk.equals(expected)) this.mismatch ??= `at ${this.received}`;
      this.received += chunk.length;
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('error', (error) => {
      this.mismatch ??= error.message;
    });
    onTestFinished(() => void this.socket.destroy());
    this.#send();
  }

  /** So many bytes more in both directions: what the server gets is asked of it. */
  async goOn(count: number, receivedBy: () => Promise<number>): Promise<void> {
    const [received, sent] = [this.received, await receivedBy()];
    await until(() => this.received >= received + count || this.mismatch || this.ended, {
      what: 'bytes from the server',
    });
    while ((await receivedBy()) < sent + count && !this.mismatch && !this.ended);
    expect([this.mismatch, this.ended]).toEqual([undefined, false]);
  }

  /** Ends it, and reads on until the server has ended it too. */
  async finish(): Promise<void> {
    this.#isSending = false;
    this.socket.end();
    await until(() => this.ended, { what: 'the end' });
  }

  #send(): void {
    while (this.#isSending) {
      const chunk = numbered(this.sent, 40_000 + (this.sent % 3_989));
      this.sent += chunk.length;
      if (!this.socket.write(chunk)) return;
    }
  }
}

/** As the app's: see raw-generations.ts. */
const PERIOD = 999_983;
const PATTERN = Buffer.alloc(PERIOD + 100_000);
for (let i = 0; i < PATTERN.length; i++) PATTERN[i] = ((i % PERIOD) * 2_654_435_761) >>> 24;

function numbered(from: number, length: number): Buffer {
  return PATTERN.subarray(from % PERIOD, (from % PERIOD) + length);
}

const received = (app: App): Promise<number> => app.run(({ kept }) => (kept.received as number) ?? 0);

describe('bytes at full speed', () => {
  it.each<[string, RawSetting]>([
    ['TCP', {}],
    ['TCP, where save takes its time', { saveTime: 20 }],
    ['a Unix stream', { address: { path: 'here' } }],
    ['an abstract name', { address: { abstract: 'here' } }],
  ])('G3: five handovers over %s: byte-exact in both directions', async (_, setting) => {
    const { path, abstract } = setting.address ?? {};
    const address = path
      ? { path: join(temporaryFolder(), 'app.sock') }
      : abstract && { abstract: `handover-test-${randomUUID()}`.padEnd(107, 'x') };
    const { chain: processes, first } = await chain(rawGeneration({ ...setting, ...(address && { address }) }));
    const client = new StreamClient(await targetOf(first));
    let app = first;
    for (let number = 2; number <= 6; number++) {
      await client.goOn(300_000, () => received(app));
      const replaced = await replace(processes, app, number);
      expect(replaced.drained).toMatchObject({ moved: 1, cut: 0 });
      expect(app.allSaid('closed')).toEqual([]);
      app = replaced.app;
      expect(app.allSaid('connection')).toEqual([]);
    }
    await client.goOn(300_000, () => received(app));
    await client.finish();
    expect(await app.said('streamed')).toMatchObject({ received: client.sent });
    expect([client.mismatch, app.allSaid('mismatch')]).toEqual([undefined, []]);
    await app.close();
  });

  it('G5: taken back in the middle of it: byte-exact in both directions', async () => {
    const strike: Strike = { direction: 'received', name: 'OFFER', signal: 'SIGKILL' };
    const { chain: processes, first } = await chain([rawGeneration(), rawGeneration({ strike }), rawGeneration()]);
    const client = new StreamClient(await targetOf(first));
    await client.goOn(300_000, () => received(first));
    // In charge it was for a moment.
    await first.upgrade().catch(() => {});
    await first.said('handover:in-charge', 2);
    await client.goOn(300_000, () => received(first));
    await first.upgrade();
    expect(await first.said('handover:drained')).toMatchObject({ moved: 1, cut: 0 });
    await first.gone();
    const third = await processes.generation(3);
    await client.goOn(300_000, () => received(third));
    client.socket.destroy();
    await third.close();
  });
});

async function end(app: App, clients: readonly LineClient[]): Promise<void> {
  for (const client of clients) client.close();
  await app.close();
}

it('G3: to a release that listens without migrate nothing moves: all is served to its end, half lines too', async () => {
  const { chain: processes, first } = await chain([rawGeneration(), rawGeneration({ drains: true })]);
  const target = await targetOf(first);
  const clients = Array.from({ length: 10 }, () => new LineClient(target));
  for (const client of clients) expect(await client.ask('first')).toBe(`${first.pid} 1 first`);
  for (const client of clients) client.send('ha');
  await first.upgrade();
  for (const client of clients) expect(await client.ask('lf')).toBe(`${first.pid} 2 half`);
  for (const client of clients) client.socket.end();
  await Promise.all(clients.map((client) => client.ended()));
  expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 0, cut: 0 });
  await first.gone();
  await end(await processes.generation(2), clients);
});

it('the option: refused where connections move by themselves or not at all, named, before any side effect', async () => {
  const { first } = await chain(
    boot(async (inside) => {
      await inside.open();
      const builtin = process.getBuiltinModule;
      const hooks = { save: () => undefined, restore: () => undefined };
      const servers = [
        builtin('node:https').createServer(),
        builtin('node:http2').createServer(),
        builtin('node:http2').createSecureServer(),
        builtin('node:tls').createServer(),
        builtin('node:dgram').createSocket('udp4').unref(),
      ];
      const tell = (server: unknown, migrate: unknown): Promise<unknown> =>
        inside.handover
          .listen(server as never, { port: 0, migrate: migrate as never })
          .catch((error: Error) => `${error.name}: ${error.message}`);
      inside.say('kinds', await Promise.all(servers.map((server) => tell(server, hooks))));
      const net = builtin('node:net').createServer();
      const wrong = [
        true,
        {},
        { ...hooks, save: 1 },
        { save: hooks.save },
        { ...hooks, stay: 1 },
        { ...hooks, load: 1 },
      ];
      const refusals: unknown[] = [];
      for (const migrate of wrong) refusals.push(await tell(net, migrate));
      inside.say('hooks', refusals);
      for (const server of servers) server.close();
    }),
  );
  const refusal = /^TypeError: "options.migrate" must be absent: it is for a net.Server or an http.Server. Received/;
  expect(await first.said('kinds')).toEqual(Array(5).fill(expect.stringMatching(refusal)));
  expect(await first.said('hooks')).toEqual([
    expect.stringContaining('"options.migrate" must be an object'),
    expect.stringContaining('"options.migrate.save" must be a function'),
    expect.stringContaining('"options.migrate.save" must be a function'),
    expect.stringContaining('"options.migrate.restore" must be a function'),
    expect.stringContaining('"options.migrate.stay" must be a function'),
    expect.stringContaining('"options.migrate.load" must be absent'),
  ]);
  await first.gone();
});

it('G3: serve() takes the option, and refuses it as listen() does', async () => {
  const { first } = await chain(
    boot(async (inside) => {
      const hooks = { save: () => undefined, restore: () => undefined };
      const web = process.getBuiltinModule('node:https').createServer();
      const error = await inside.lib
        .serve(web, { port: 0, signals: false, migrate: hooks })
        .catch((error: Error) => error);
      inside.say('refused', String(error));
    }),
  );
  expect(await first.said('refused')).toMatch(/^TypeError: "options.migrate" must be absent/);
  await first.gone();

  const { chain: processes, first: app } = await chain(
    boot(async (inside) => {
      const talk = (socket: Socket, state: { count: number }): void => {
        Object.assign(socket, { talk: state });
        socket.on('data', (line: Buffer) => socket.write(`${process.pid} ${++state.count} ${line}`));
      };
      const server = process.getBuiltinModule('node:net').createServer((socket) => talk(socket, { count: 0 }));
      inside.handover = await inside.lib.serve(server, {
        port: 0,
        host: '127.0.0.1',
        name: 'raw',
        probation: { duration: 0 },
        signals: false,
        migrate: { save: (socket) => (socket as unknown as { talk: object }).talk, restore: talk },
      });
      inside.say('listening', { address: server.address() });
    }),
  );
  const client = new LineClient(await targetOf(app));
  expect(await client.ask('x')).toBe(`${app.pid} 1 x`);
  const { app: second } = await replace(processes, app, 2);
  expect(await client.ask('y')).toBe(`${second.pid} 2 y`);
  await end(second, [client]);
});
