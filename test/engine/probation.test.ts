// G5, G8: probation. Both accept; a successor that fails meanwhile costs what it owned, and its predecessor never
// stopped accepting.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type App, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, privateFolder, server, stopped, targetOf, Visitors } from './engine.js';

expectNoLeaks();
const { chain, follow } = useApps();

const options = { probation: { duration: 600, stallTimeout: 400 } };

it('G1, G2: during probation both processes accept, and none is put in charge', async () => {
  const { chain: processes, first } = await chain(server({ options }));
  const visitors = new Visitors(await targetOf(first), 8);
  const upgrade = first.upgrade();
  const second = await processes.generation(2);
  await second.booted;
  await visitors.answered(second.pid, 5);
  await visitors.answered(first.pid, 5);
  expect(await second.run(({ handover }) => handover.isInCharge)).toBe(false);
  expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
  expect(second.allSaid('duty')).toEqual([]);
  const { phases } = await upgrade;
  expect(phases.map(({ name }) => name)).toEqual(['PREPARE', 'PROBATION', 'COMMIT']);
  expect(phases[1]?.durationMs).toBeGreaterThanOrEqual(600);
  expect(await second.said('duty')).toBe('start');
  await visitors.stop();
  expect([visitors.refused, visitors.lost]).toEqual([[], []]);
  await first.process.gone();
  await second.close();
});

it('probation: 0 puts the successor in charge at once', async () => {
  const { chain: processes, first } = await chain(server({ options: { probation: { duration: 0 } } }));
  const { phases } = await first.upgrade();
  expect(phases.map(({ name }) => name)).toEqual(['PREPARE', 'COMMIT']);
  await first.process.gone();
  await (await processes.generation(2)).close();
});

it('probation lasts until a heartbeat after its end: a loop blocked across the end delays COMMIT', async () => {
  const blocked = server({
    options,
    after: ({ say }) => {
      setTimeout(() => {
        say('blocked');
        const end = performance.now() + 1_200;
        while (performance.now() < end);
        say('unblocked');
      }, 150);
    },
  });
  const patient = server({ options: { probation: { duration: 300, stallTimeout: 3_000 } } });
  const { chain: processes, first } = await chain([patient, blocked]);
  const { phases } = await first.upgrade();
  expect(phases.find(({ name }) => name === 'PROBATION')?.durationMs).toBeGreaterThan(1_200);
  const second = await processes.generation(2);
  expect(second.allSaid('unblocked')).toHaveLength(1);
  await first.process.gone();
  await second.close();
});

describe('G5: a successor on probation that', () => {
  it.each([
    ['is killed', 'SIGKILL'],
    ['stops', 'SIGSTOP'],
  ] as const)('%s', async (_, signal) => {
    // It starts a process of its own, and leaves the admin socket on purpose.
    const bad = server({
      options: { ...options, unclaimed: 'close' },
      before: ({ say }) => {
        const { spawn } = process.getBuiltinModule('node:child_process');
        say('child', spawn('sleep', ['600'], { stdio: 'ignore' }).pid);
      },
    });
    const folder = privateFolder();
    const pidFile = join(folder, 'pid');
    const path = join(folder, 'admin.sock');
    const listenAdmin = server({
      options: { ...options, pidFile },
      before: ({ handover }) => {
        const { createServer } = process.getBuiltinModule('node:http');
        return handover.listen(createServer(), { path: process.env.ADMIN_PATH as string });
      },
    });
    const { chain: processes, first } = await chain([listenAdmin, bad, listenAdmin], {
      env: { ADMIN_PATH: path },
    });
    const { ino } = statSync(path);
    const target = await targetOf(first);
    const visitors = new Visitors(target);
    const failure = failureOf(first);
    const second = await processes.generation(2);
    const child = follow(await second.said<number>('child'));
    await second.booted.catch(() => {});
    second.process.signal(signal);
    expect(await failure).toMatchObject({
      name: 'HandoverError',
      code: 'ERR_HANDOVER_PROBATION_FAILED',
      phase: 'PROBATION',
      stillServing: true,
    });
    expect(second.process.alive()).toBe(false);
    await child.gone(2_000);
    expect(first.allSaid('server')).toEqual(['listening']);
    expect(first.allSaid('duty')).toEqual(['start']);
    expect(first.allSaid('closing')).toEqual([]);
    expect(first.allSaid('hook')).toEqual([]);
    await visitors.answered(first.pid, 10);
    await visitors.stop();
    expect(visitors.refused).toEqual([]);
    expect(statSync(path).ino).toBe(ino);
    expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`);
    // And nothing stands in the way of the next.
    const { pid } = await first.run(({ handover }) => handover.upgrade());
    expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}\n`);
    await first.process.gone();
    await (await processes.generation(3)).close();
    expect([existsSync(path), existsSync(pidFile)]).toEqual([false, false]);
  });
});

it('G5: a successor whose health check says no fails its probation', async () => {
  const { chain: processes, first } = await chain([server({ options }), server({ options, health: () => false })]);
  const visitors = new Visitors(await targetOf(first));
  expect(await failureOf(first)).toMatchObject({
    code: 'ERR_HANDOVER_PROBATION_FAILED',
    message: expect.stringMatching(/health/),
    phase: 'PROBATION',
    stillServing: true,
  });
  expect((await processes.generation(2)).process.alive()).toBe(false);
  await visitors.answered(first.pid, 5);
  await visitors.stop();
  expect(visitors.refused).toEqual([]);
  expect(first.allSaid('server')).toEqual(['listening']);
  await first.close();
});

it('G8: the outcome counts the connections that died with the successor', async () => {
  const { chain: processes, first } = await chain(
    server({ options: { probation: { duration: 5_000, stallTimeout: 5_000 } } }),
  );
  const target = await targetOf(first);
  const failure = failureOf(first);
  const second = await processes.generation(2);
  await second.booted;
  // Connections that stay, until the successor has some of them.
  const clients: HttpConnection[] = [];
  let owned = 0;
  while (owned < 3) {
    const client = new HttpConnection(target);
    clients.push(client);
    if ((await client.request('/')).pid === second.pid) owned++;
  }
  // Two heartbeats later the predecessor knows of them.
  const beats = await first.run(({ kept }) => {
    kept.beats = 0;
    const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
    subscribe('handover:frame', (frame) => {
      if ((frame as { name: string }).name === 'HEARTBEAT') kept.beats = (kept.beats as number) + 1;
    });
    return kept.beats as number;
  });
  expect(beats).toBe(0);
  await first.run(
    ({ kept }) =>
      new Promise<void>((resolve) => {
        const timer = setInterval(() => {
          if ((kept.beats as number) < 3) return;
          clearInterval(timer);
          resolve();
        }, 10);
      }),
  );
  second.process.signal('SIGKILL');
  expect(await failure).toMatchObject({
    code: 'ERR_HANDOVER_PROBATION_FAILED',
    connectionsLost: owned,
    exitSignal: 'SIGKILL',
    message: expect.stringContaining(`${owned} connections it owned were lost`),
  });
  for (const client of clients) client.close();
  await first.close();
});

describe('G5: a healthy successor is not misjudged', () => {
  // Three times as long as it may be silent: a clock would have counted it.
  const pause = () => new Promise((resolve) => setTimeout(resolve, 900));
  const proving = async (interrupt: (first: App, second: App) => Promise<void>): Promise<void> => {
    const { chain: processes, first } = await chain(
      server({ options: { probation: { duration: 800, stallTimeout: 300 } } }),
    );
    const upgrade = first.upgrade();
    const second = await processes.generation(2);
    await second.booted;
    await interrupt(first, second);
    expect((await upgrade).pid).toBe(second.pid);
    await first.process.gone();
    await second.close();
  };

  it('when its predecessor is stopped and goes on', () =>
    proving(async (first) => {
      await stopped(first);
      await pause();
      first.process.signal('SIGCONT');
    }));

  it('when both are stopped and go on, as in a container that is paused', () =>
    proving(async (first, second) => {
      await stopped(second);
      await stopped(first);
      await pause();
      first.process.signal('SIGCONT');
      // It has looked at its clock by then.
      await first.run(() => new Promise((resolve) => setTimeout(resolve, 50)));
      second.process.signal('SIGCONT');
    }));
});
