// G3, G5: connections for which one of the two processes has no descriptors. None is closed for it: what does not fit stays
// where it is served, and moves when there is room.
import net from 'node:net';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { type App, type Boot, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Drained, portOf } from '../migration/generations.js';
import { Wire } from '../migration/wire.js';
import { failureOf } from './engine.js';

expectNoLeaks();
const { chain } = useApps();

interface Setting {
  /** RLIMIT_NOFILE of the first process, which its successors inherit; set once it listens. */
  readonly limit: number;
  /** Files that every later generation keeps open, and when it opens them. */
  readonly files?: number;
  readonly when?: 'loading' | 'in charge';
  readonly drainTimeout?: number;
  /** Descriptors that the process has left when it begins. */
  readonly free?: number;
}

function server({ limit, files = 0, when = 'loading', drainTimeout = 20_000, free }: Setting): Boot {
  return boot(
    async (inside, limit, files, when, drainTimeout, free) => {
      const { closeSync, openSync } = process.getBuiltinModule('node:fs');
      const kept: number[] = [];
      const open = (): void => {
        for (let i = 0; i < files; i++) kept.push(openSync('/dev/null', 'r'));
      };
      inside.kept.closeFiles = () => {
        for (const fd of kept.splice(0)) closeSync(fd);
      };
      const limitTo = (count: number): void => {
        const prlimit = [`--nofile=${count}:${count}`, `--pid=${process.pid}`];
        process.getBuiltinModule('node:child_process').execFileSync('prlimit', prlimit);
      };
      if (free !== null) limitTo(inside.descriptors().length + free);
      const handover = await inside.open({ probation: { duration: 0 }, drain: { timeout: drainTimeout } });
      const web = process.getBuiltinModule('node:http').createServer((request, response) => {
        const body = `got ${request.url}`;
        response.writeHead(200, { 'x-pid': process.pid, 'content-length': body.length }).end(body);
      });
      web.keepAliveTimeout = 60_000;
      web.on('connection', () => inside.say('connection'));
      if (handover.generation > 1 && when === 'loading') open();
      if (handover.generation > 1 && when === 'in charge') handover.whenInCharge(open);
      inside.say('listening', await handover.listen(web, { name: 'web', port: 0, host: '127.0.0.1' }));
      await handover.ready();
      if (handover.generation === 1 && limit > 0) limitTo(limit);
    },
    limit,
    files,
    when,
    drainTimeout,
    free ?? null,
  );
}

async function clients(app: App, count: number): Promise<Wire[]> {
  const port = await portOf(app);
  const all = await Promise.all(Array.from({ length: count }, () => new Wire(port).connected()));
  for (const client of all) expect((await client.ask('/first')).pid).toBe(app.pid);
  return all;
}

/** Each is asked once more; who answered, and how many connections have ended. */
async function again(all: readonly Wire[]): Promise<{ pids: number[]; ended: number }> {
  const pids = await Promise.all(all.map(async (client) => (await client.ask('/again')).pid));
  return { pids, ended: all.filter(({ end }) => end !== undefined).length };
}

interface Failed {
  readonly name: string;
  readonly error: { readonly code?: string };
}

const noRoom = (app: App): unknown[] =>
  app.allSaid('handover:hook-failed').filter((payload) => (payload as Failed).name === 'migrate');

describe('a successor with few free descriptors', () => {
  it.each<[string, Setting]>([
    ['that says so', { limit: 400, files: 200 }],
    [
      'that opens its files once it is in charge, and loses what was on the way',
      { limit: 400, files: 300, when: 'in charge' },
    ],
  ])('G3: %s: what does not fit stays and is answered, and moves when there is room', async (_, setting) => {
    const { chain: processes, first } = await chain(server(setting));
    const all = await clients(first, 300);
    await first.upgrade();
    const second = await processes.generation(2);
    await until(() => noRoom(first).length > 0, { what: 'the end of the room', interval: 10 });
    const { pids, ended } = await again(all);
    expect([ended, new Set(pids)]).toEqual([0, new Set([first.pid, second.pid])]);
    expect(pids.filter((pid) => pid === second.pid).length).toBeGreaterThan(setting.when ? 0 : 100);
    await second.run(({ kept }) => (kept.closeFiles as () => void)());
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 300, cut: 0 });
    expect(noRoom(first)).toHaveLength(1);
    const last = await again(all);
    expect([last.ended, new Set(last.pids)]).toEqual([0, new Set([second.pid])]);
    for (const client of all) client.close();
    await first.gone();
    await second.close();
  });

  // Its listener, and half the reserve; the reserve, and four more. What a Node opens for itself differs.
  it.each([8, 16])('G5: one that could hardly serve fails before COMMIT, and closes nothing: %i free', async (free) => {
    const { chain: processes, first } = await chain([server({ limit: 0 }), server({ limit: 0, free })]);
    const all = await clients(first, 20);
    const failure = await failureOf(first);
    expect(failure).toMatchObject({ code: 'ERR_HANDOVER_DESCRIPTORS', phase: 'PREPARE', stillServing: true });
    expect(failure.message).toMatch(/RLIMIT_NOFILE/);
    await (await processes.generation(2)).process.gone();
    expect(await again(all)).toEqual({ pids: all.map(() => first.pid), ended: 0 });
    for (const client of all) client.close();
    await first.close();
  });
});

describe('a predecessor without a free descriptor', () => {
  const knocking = new Set<net.Socket>();
  afterEach(() => knocking.clear());

  it('G3: whose table is full of connections, with more clients knocking: all of them move', async () => {
    const limit = 160;
    const { chain: processes, first } = await chain(server({ limit, drainTimeout: 4_000 }));
    const port = await portOf(first);
    let isKnocking = true;
    onTestFinished(() => {
      isKnocking = false;
      for (const socket of knocking) socket.destroy();
    });
    // Whoever is sent away, because the table is full, comes again at once.
    const knock = (): void => {
      if (!isKnocking) return;
      const socket = net.connect(port, '127.0.0.1');
      knocking.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          knocking.delete(socket);
          setTimeout(knock, 5);
        });
    };
    const all = await clients(first, 80);
    for (let i = 0; i < 60; i++) knock();
    await until(() => first.allSaid('connection').length >= limit - 40, { what: 'a full table', interval: 10 });
    await first.upgrade();
    const drained = await first.said<Drained>('handover:drained');
    const second = await processes.generation(2);
    expect(drained).toMatchObject({ cut: 0 });
    expect(drained.moved).toBeGreaterThanOrEqual(80);
    isKnocking = false;
    for (const socket of knocking) socket.destroy();
    expect(await again(all)).toEqual({ pids: all.map(() => second.pid), ended: 0 });
    for (const client of all) client.close();
    await first.gone();
    await second.close();
  });
});
