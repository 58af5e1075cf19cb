// upgrade(): what it resolves with, what it refuses, and how it is called off.
import { describe, expect, it } from 'vitest';
import type { UpgradeOutcome } from '../../lib/index.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, boot, exceptReserveNumbers, useApps } from './apps.js';
import { HttpConnection } from './clients.js';

expectNoLeaks();
const { chain } = useApps();

interface Listening {
  readonly address: { readonly port: number };
}

const web = boot(async (inside) => {
  await inside.open({ probation: { duration: 0 } });
  inside.say('listening', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
  await inside.handover.ready();
});

/** A successor that loads for ever: it has dialled, greeted, claimed, and never says that it is ready. */
const hangs = boot(async (inside) => {
  await inside.open();
  await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
  inside.say('hanging');
});

/** Both serve for longer than a test takes. */
const onProbation = boot(async (inside) => {
  await inside.open({ probation: { duration: 60_000 } });
  inside.say('listening', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
  await inside.handover.ready();
});

const target = async (app: App) => ({ port: (await app.said<Listening>('listening')).address.port, host: '127.0.0.1' });

/** The process answers a request on a fresh connection. */
async function expectServing(app: App): Promise<void> {
  const client = new HttpConnection(await target(app));
  expect((await client.request('/')).pid).toBe(app.pid);
  client.close();
}

describe('G8: the outcome', () => {
  it('names generation, pid, phases and what was claimed, and what was not', async () => {
    const two = boot(async (inside) => {
      await inside.open({ probation: { duration: 50 } });
      await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.listen('net', { name: 'admin', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    });
    const one = boot(async (inside) => {
      await inside.open({ unclaimed: ['other', 'admin'] });
      await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    });
    const { chain: processes, first } = await chain([two, one]);
    const before = Date.now();
    const outcome = await first.upgrade();
    const second = await processes.generation(2);

    expect(outcome).toEqual({
      generation: 2,
      pid: second.pid,
      phases: ['PREPARE', 'PROBATION', 'COMMIT'].map((name) => ({
        name,
        startedAt: expect.any(Number),
        durationMs: expect.any(Number),
      })),
      claimed: ['web'],
      unclaimed: ['admin'],
    });
    expect(outcome.phases[0]?.startedAt).toBeGreaterThanOrEqual(before);
    expect(outcome.phases[1]?.durationMs).toBeGreaterThanOrEqual(49);
    for (const [i, { startedAt, durationMs }] of outcome.phases.slice(0, -1).entries()) {
      expect(outcome.phases[i + 1]?.startedAt).toBeGreaterThanOrEqual(startedAt + Math.floor(durationMs) - 1);
    }
    expect(await second.run(({ handover }) => [handover.generation, handover.isInCharge])).toEqual([2, true]);
    await first.gone();
    await second.close();
  });

  it("claims are by name: the library's own descriptors are not among them", async () => {
    const { chain: processes, first } = await chain(web);
    const { claimed, unclaimed } = await first.upgrade();
    expect({ claimed, unclaimed }).toEqual({ claimed: ['web'], unclaimed: [] });
    const second = await processes.generation(2);
    await first.gone();
    await second.close();
  });

  it('the predecessor is superseded: not in charge, closing is aborted, closed resolves, the process ends by itself', async () => {
    const { chain: processes, first } = await chain(web);
    await first.run(({ handover, servers, say }) => {
      handover.closing.addEventListener('abort', () => say('closing', handover.isInCharge));
      handover.onClose('hook', () => say('hook', servers.http?.listenerCount('request')));
      void handover.closed.then(() => say('closed'));
    });
    await first.upgrade();
    expect(await first.said('closing')).toBe(false);
    await first.said('hook');
    await first.said('closed');
    await first.gone();
    expect(await processes.program.exit()).toEqual({ code: 0, signal: null });
    await (await processes.generation(2)).close();
  });
});

it.runIf(process.platform === 'linux')('G6: what either process starts gets none of its sockets', async () => {
  const { chain: processes, first } = await chain(web);
  const client = new HttpConnection(await target(first));
  const held = client.request('/hold');
  await first.said('held');
  await first.upgrade();
  const second = await processes.generation(2);
  for (const app of [first, second]) {
    const inherited = await app.run(() => {
      const { spawnSync } = process.getBuiltinModule('node:child_process');
      const ls = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
      return ls.stdout.split('\n').filter((line) => line.includes('socket:'));
    });
    // Its stdout is a socket pair of Node's own.
    expect(inherited.filter((line) => !/ [0-2] -> /.test(line))).toEqual([]);
  }
  await first.run(({ servers }) => servers.http?.release());
  await held;
  client.close();
  await first.gone();
  await second.close();
});

describe('refused before anything is started', () => {
  const rejection = (app: App) =>
    app.run(async ({ handover, children }) => {
      const error = (await handover.upgrade().catch((error) => error)) as Error & {
        code: string;
        stillServing: boolean;
      };
      return { name: error.name, code: error.code, stillServing: error.stillServing, children: children() };
    });

  it('ERR_HANDOVER_NOT_READY: before ready()', async () => {
    const loading = boot(async (inside) => {
      await inside.open();
      // Nothing else keeps a first process that does not accept yet.
      inside.kept.timer = setInterval(() => {}, 60_000);
    });
    const { first } = await chain(loading);
    expect(await rejection(first)).toEqual({
      name: 'HandoverError',
      code: 'ERR_HANDOVER_NOT_READY',
      stillServing: true,
      children: [],
    });
    await first.run(({ kept, handover }) => {
      clearInterval(kept.timer as NodeJS.Timeout);
      void handover.close();
    });
    await first.gone();
  });

  it('ERR_HANDOVER_IN_PROGRESS: while another is under way, which is not disturbed', async () => {
    const { chain: processes, first } = await chain(web);
    const code = await first.run(async ({ handover, kept }) => {
      kept.upgrade = handover.upgrade();
      return handover.upgrade().catch((error) => error.code);
    });
    expect(code).toBe('ERR_HANDOVER_IN_PROGRESS');
    const outcome = await first.run(({ kept }) => kept.upgrade as Promise<UpgradeOutcome>);
    const second = await processes.generation(2);
    expect(outcome.pid).toBe(second.pid);
    await first.gone();
    await second.close();
  });

  it('ERR_HANDOVER_CLOSED: superseded, closing and closed', async () => {
    const { chain: processes, first } = await chain(web);
    const codes = await first.run(async ({ handover }) => {
      const code = () => handover.upgrade().catch((error) => [error.code, error.stillServing]);
      await handover.upgrade();
      const superseded = await code();
      await handover.closed;
      return [superseded, await code()];
    });
    expect(codes).toEqual([
      ['ERR_HANDOVER_CLOSED', false],
      ['ERR_HANDOVER_CLOSED', false],
    ]);
    await first.gone();
    await (await processes.generation(2)).close();
  });

  it('a signal that is none, and one that is aborted already: its reason, untouched', async () => {
    const { first } = await chain(web);
    const thrown = await first.run(async ({ handover, children }) => {
      const reason = { my: 'reason' };
      const bad = await handover.upgrade({ signal: 'SIGTERM' as never }).catch((error) => error.message);
      const same = await handover.upgrade({ signal: AbortSignal.abort(reason) }).catch((error) => error === reason);
      return { bad, same, children: children() };
    });
    expect(thrown).toEqual({
      bad: '"options.signal" must be an AbortSignal. Received \'SIGTERM\'',
      same: true,
      children: [],
    });
    await expectServing(first);
    await first.close();
  });
});

describe('G5, G7: called off by an AbortSignal', () => {
  const expectAsBefore = async (app: App, before: readonly string[]): Promise<void> => {
    const now = await app.run(({ children, descriptors, handover }) => ({
      children: children(),
      descriptors: descriptors(),
      isInCharge: handover.isInCharge,
    }));
    expect({ ...now, descriptors: exceptReserveNumbers(now.descriptors) }).toEqual({
      children: [],
      descriptors: before,
      isInCharge: true,
    });
  };

  it.each([
    ['while the successor is being started', false],
    ['while the successor loads', true],
  ])('%s: the reason untouched, the successor gone, everything as it was', async (_, waits) => {
    const { chain: processes, first } = await chain([web, hangs, web]);
    const before = exceptReserveNumbers(await first.run(({ descriptors }) => descriptors()));
    await first.run(({ handover, kept }) => {
      const controller = new AbortController();
      const reason = new Error('changed my mind');
      kept.controller = controller;
      kept.reason = reason;
      kept.same = handover.upgrade({ signal: controller.signal }).then(
        () => 'resolved',
        (error) => error === reason,
      );
    });
    if (waits) await (await processes.generation(2)).said('hanging');
    const same = await first.run(({ kept }) => {
      (kept.controller as AbortController).abort(kept.reason);
      return kept.same;
    });
    expect(same).toBe(true);
    await expectAsBefore(first, before);
    if (waits) await (await processes.generation(2)).gone();
    await expectServing(first);
    // And the next one succeeds.
    if (waits) {
      const { pid } = await first.upgrade();
      const third = await processes.generation(3);
      expect(third.pid).toBe(pid);
      await first.gone();
      await third.close();
    } else {
      await first.close();
    }
  });

  it('while both serve on probation: the reason untouched, the successor gone, everything as it was', async () => {
    const { chain: processes, first } = await chain(onProbation);
    const before = exceptReserveNumbers(await first.run(({ descriptors }) => descriptors()));
    await first.run(({ handover, kept }) => {
      const controller = new AbortController();
      kept.controller = controller;
      kept.same = handover.upgrade({ signal: controller.signal }).catch((error) => error === 'changed my mind');
    });
    expect(await first.said('handover:phase', 2)).toMatchObject({ phase: 'PROBATION' });
    const same = await first.run(({ kept }) => {
      (kept.controller as AbortController).abort('changed my mind');
      return kept.same;
    });
    expect(same).toBe(true);
    await expectAsBefore(first, before);
    await (await processes.generation(2)).gone();
    await expectServing(first);
    await first.close();
  });

  it('an abort after it has resolved changes nothing', async () => {
    const { chain: processes, first } = await chain(web);
    const pid = await first.run(async ({ handover }) => {
      const controller = new AbortController();
      const outcome = await handover.upgrade({ signal: controller.signal });
      controller.abort();
      return outcome.pid;
    });
    await first.gone();
    const second = await processes.generation(2);
    expect(second.pid).toBe(pid);
    await expectServing(await processes.generation(2));
    await second.close();
  });
});
