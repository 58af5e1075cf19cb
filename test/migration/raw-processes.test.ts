// G3, G4, G5: raw connections through handovers of real processes: at full speed in both directions, while either process is
// killed or stopped in the middle of a batch, and back again.
import { randomUUID } from 'node:crypto';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { onLinux, temporaryFolder } from '../fd/sandbox.js';
import { type App, boot, type Chain, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { untilStopped } from '../helpers/processes.js';
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

const COUNT = 100;
/** At most: those whose state is there by then. */
const FIRST_BATCH = 64;

async function start(
  settings: readonly RawSetting[],
): Promise<{ processes: Chain; first: App; clients: LineClient[]; upgrading: Promise<unknown> }> {
  const { chain: processes, first } = await chain(settings.map(rawGeneration));
  const target = await targetOf(first);
  const clients = Array.from({ length: COUNT }, () => new LineClient(target));
  for (const client of clients) expect(await client.ask('first')).toBe(`${first.pid} 1 first`);
  // Half a line is the app's, and moves with it.
  for (const client of clients) client.send('ha');
  const upgrading = first.upgrade().catch((error: unknown) => error);
  return { processes, first, clients, upgrading };
}

/** Ends the line of each: the pids that answered with the right count, and how many connections had been lost. */
async function survey(clients: readonly LineClient[], count = 2): Promise<{ pids: number[]; lost: number }> {
  const answers = await Promise.all(clients.map((client) => client.ask('lf').catch(() => undefined)));
  const whole = answers.filter((answer) => answer !== undefined);
  for (const answer of whole) expect(answer).toMatch(new RegExp(`^\\d+ ${count} half$`));
  expect(clients.filter(({ pending }) => pending !== '')).toEqual([]);
  return { pids: whole.map((answer) => Number(answer.split(' ')[0])), lost: COUNT - whole.length };
}

/** Lines that this process answered in the survey. */
const halves = (app: App): number => app.allSaid('line').filter((line) => line === 'half').length;

const all = (count: number, pid: number): number[] => Array(count).fill(pid);

async function end(app: App, clients: readonly LineClient[]): Promise<void> {
  for (const client of clients) client.close();
  await app.close();
}

describe.runIf(onLinux)('the successor', () => {
  it.each<[string, Strike]>([
    ['before it holds the first batch', { direction: 'received', name: 'OFFER', signal: 'SIGKILL' }],
    ['before it says HELD', { direction: 'sent', name: 'HELD', signal: 'SIGKILL' }],
  ])('G5: killed %s: lost is nothing that was not given; the rest is served on, and moves the next time', async (_, strike) => {
    const { processes, first, clients } = await start([{}, { strike }, {}]);
    await first.said('handover:in-charge', 2);
    const { pids, lost } = await survey(clients);
    expect(lost).toBeLessThanOrEqual(FIRST_BATCH);
    expect(pids).toEqual(all(COUNT - lost, first.pid));
    const { app, drained } = await replace(processes, first, 3);
    expect(drained).toMatchObject({ moved: COUNT - lost, cut: 0 });
    const alive = clients.filter(({ end }) => end === undefined);
    for (const client of alive) expect(await client.ask('x')).toBe(`${app.pid} 3 x`);
    await end(app, clients);
  });

  it('G4: stopped at OFFER and continued: what was said meanwhile is answered once, by it', async () => {
    const strike: Strike = { direction: 'received', name: 'OFFER', signal: 'SIGSTOP' };
    const { processes, first, clients } = await start([{}, { strike }]);
    const second = await processes.generation(2);
    await untilStopped(second.pid);
    const surveying = survey(clients);
    await first.run(async () => new Promise((resolve) => setTimeout(resolve, 50)));
    // Those that were not asked yet are served on.
    const early = halves(first);
    expect(early).toBeLessThan(COUNT);
    second.process.signal('SIGCONT');
    const { pids, lost } = await surveying;
    expect([lost, pids.filter((pid) => pid === first.pid).length]).toEqual([0, early]);
    expect([halves(first), halves(second)]).toEqual([early, COUNT - early]);
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: COUNT, cut: 0 });
    await first.gone();
    await end(second, clients);
  });

  it('G4, G5: stopped at OFFER and never continued: it is ended, and everything is taken back', async () => {
    const strike: Strike = { direction: 'received', name: 'OFFER', signal: 'SIGSTOP' };
    const { processes, first, clients } = await start([
      { handover: { probation: { duration: 0, stallTimeout: 200 } } },
      { strike },
    ]);
    const second = await processes.generation(2);
    await untilStopped(second.pid);
    const surveying = survey(clients);
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', stillServing: true });
    await second.gone();
    expect(await surveying).toEqual({ lost: 0, pids: all(COUNT, first.pid) });
    await end(first, clients);
  });

  it('G3: it listens without migrate: everything stays, and is served to its end', async () => {
    const { processes, first, clients, upgrading } = await start([{}, { drains: true }]);
    await upgrading;
    expect(await survey(clients)).toEqual({ lost: 0, pids: all(COUNT, first.pid) });
    for (const client of clients) client.socket.end();
    await Promise.all(clients.map((client) => client.ended()));
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 0, cut: 0 });
    await first.gone();
    await end(await processes.generation(2), clients);
  });
});

describe.runIf(onLinux)('the predecessor', () => {
  it.each<[string, Strike]>([
    ['before it sends the second OFFER', { direction: 'sent', name: 'OFFER', nth: 2, signal: 'SIGKILL' }],
    ['at HELD', { direction: 'received', name: 'HELD', signal: 'SIGKILL' }],
    ['before it sends GO', { direction: 'sent', name: 'GO', signal: 'SIGKILL' }],
  ])('G4: killed %s: the successor serves what it holds, once', async (_, strike) => {
    const { processes, first, clients, upgrading } = await start([{ strike }, {}]);
    await upgrading;
    await first.gone();
    const second = await processes.generation(2);
    const { pids, lost } = await survey(clients);
    // What was not offered was the dead one's alone.
    expect(lost).toBeLessThan(COUNT);
    expect([pids, second.allSaid('restored').length]).toEqual([all(COUNT - lost, second.pid), COUNT - lost]);
    await end(second, clients);
  });

  it.each<[string, Strike]>([
    ['at HELD', { direction: 'received', name: 'HELD', signal: 'SIGSTOP' }],
    ['at GO', { direction: 'sent', name: 'GO', signal: 'SIGSTOP' }],
  ])('G4: stopped %s and continued: what was said meanwhile is answered once', async (_, strike) => {
    const { processes, first, clients, upgrading } = await start([{ strike }, {}]);
    await untilStopped(first.pid);
    const second = await processes.generation(2);
    const surveying = survey(clients);
    await second.run(async () => new Promise((resolve) => setTimeout(resolve, 50)));
    first.process.signal('SIGCONT');
    await upgrading;
    const { pids, lost } = await surveying;
    await first.gone();
    expect([lost, new Set(pids).has(second.pid)]).toEqual([0, true]);
    expect(halves(first) + halves(second)).toBe(COUNT);
    await end(second, clients);
  });
});

it('G5: a successor that dies after the move: what it owned is lost, what stayed is served on and moves the next time', async () => {
  const { chain: processes, first } = await chain([rawGeneration(), rawGeneration(), rawGeneration()]);
  const target = await targetOf(first);
  const [moved, staying] = [new LineClient(target), new LineClient(target)];
  await moved.ask('x');
  await staying.ask('stay');
  await first.upgrade();
  const second = await processes.generation(2);
  await second.said('restored');
  expect(await moved.ask('y')).toBe(`${second.pid} 2 y`);
  second.process.signal('SIGKILL');
  await moved.ended();
  await first.said('handover:in-charge', 2);
  expect(await staying.ask('y')).toBe(`${first.pid} 2 y`);
  const { app } = await replace(processes, first, 3);
  expect(await staying.ask('z')).toBe(`${app.pid} 3 z`);
  await end(app, [moved, staying]);
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
