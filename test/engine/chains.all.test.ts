// Chains: handovers while older generations still drain, and 40 (or 200) of them in a row, which leave nothing behind.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type App, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { failureOf, figures, privateFolder, server, targetOf, Visitors } from './engine.js';

expectNoLeaks();
const { chain } = useApps();

/** Holds a request in this process, so that it drains until `release()`. */
async function hold(app: App): Promise<{ release(): Promise<void> }> {
  const client = new HttpConnection(await targetOf(app));
  const answer = client.request('/hold');
  await app.said('held');
  return {
    async release() {
      await app.run(({ servers }) => servers.http?.release());
      expect((await answer).pid).toBe(app.pid);
      client.close();
    },
  };
}

it('G2, G8: a handover while older generations drain, up to maxDraining, which names them when it refuses', async () => {
  const { chain: processes, first } = await chain(server({ options: { probation: { duration: 0 }, maxDraining: 2 } }));
  const held1 = await hold(first);
  await first.upgrade();
  const second = await processes.generation(2);
  expect(await second.run(({ handover }) => handover.draining)).toMatchObject([{ generation: 1, pid: first.pid }]);
  const held2 = await hold(second);
  await second.upgrade();
  const third = await processes.generation(3);

  // The oldest is reported through the one in between, within two of its reports.
  const draining = await third.run(async ({ handover }) => {
    while (handover.draining.length < 2 || handover.draining.some(({ connections }) => connections === 0)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return [...handover.draining].sort((a, b) => a.generation - b.generation);
  });
  expect(draining).toMatchObject([
    { generation: 1, pid: first.pid, connections: 1 },
    { generation: 2, pid: second.pid, connections: 1 },
  ]);
  for (const { age } of draining) expect(age).toBeGreaterThan(0);
  expect(draining[0]?.age).toBeGreaterThan(draining[1]?.age ?? 0);

  const refused = await failureOf(third);
  expect(refused).toMatchObject({ code: 'ERR_HANDOVER_TOO_MANY_DRAINING', stillServing: true, phase: 'PREPARE' });
  expect(refused.message).toMatch(new RegExp(`generation 1 \\(pid ${first.pid}\\) for \\d+ s with 1 connections`));
  expect(refused.message).toMatch(new RegExp(`generation 2 \\(pid ${second.pid}\\) for \\d+ s with 1 connections`));

  // The one in between has nothing to drain any more, and waits for the oldest: who else would tell of it?
  await held2.release();
  const left = await third.run(async ({ handover }) => {
    while (handover.draining.some(({ generation, connections }) => generation === 2 && connections > 0)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return handover.draining;
  });
  expect(left).toMatchObject([
    { generation: 2, connections: 0 },
    { generation: 1, connections: 1 },
  ]);
  await held1.release();
  await first.process.gone();
  await second.process.gone();
  // Nothing drains any more.
  await third.run(async ({ handover }) => {
    while (handover.draining.length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  });
  const { pid } = await third.upgrade();
  await third.process.gone();
  const fourth = await processes.generation(4);
  expect(fourth.pid).toBe(pid);
  await fourth.close();
});

it('forceOldest kills the oldest instead', async () => {
  const options = { probation: { duration: 0 }, maxDraining: 1, forceOldest: true };
  const { chain: processes, first } = await chain(server({ options }));
  const client = new HttpConnection(await targetOf(first));
  const held = client.request('/hold').catch((error: Error) => error.message);
  await first.said('held');
  await first.upgrade();
  const second = await processes.generation(2);
  const visitors = new Visitors(await targetOf(second));
  const { pid } = await second.upgrade();
  await first.process.gone();
  expect(await held).toMatch(/reset|closed/);
  client.close();
  await second.process.gone();
  await visitors.answered(pid, 10);
  await visitors.stop();
  expect([visitors.refused, visitors.lost]).toEqual([[], []]);
  const third = await processes.generation(3);
  expect(await third.run(({ handover }) => [handover.isInCharge, handover.draining])).toEqual([true, []]);
  await third.close();
});

it('G7: 15 standbys prepared and discarded, and 5 successors that fail, leave nothing in their predecessor', async () => {
  const { first } = await chain(server({ options: { probation: { duration: 0 } } }));
  const discard = () =>
    first.run(async ({ handover }) => {
      const standby = await handover.prepare();
      await standby.discard();
    });
  await discard();
  const size = () => openDescriptors(first.pid).size;
  const before = size();
  for (let i = 1; i < 15; i++) await discard();
  for (let i = 0; i < 5; i++) {
    const failure = failureOf(first, async ({ handover }) => {
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      const controller = new AbortController();
      subscribe('handover:frame', () => controller.abort(new Error('changed my mind')));
      await handover.upgrade({ signal: controller.signal });
    });
    expect(await failure).toMatchObject({ message: 'changed my mind' });
  }
  await until(() => size() === before, { what: `${before} descriptors to be left, not ${size()}` });
  expect(await first.run(({ children }) => children())).toEqual([]);
  await first.close();
});

interface Look {
  readonly descriptors: number;
  readonly rss: number;
  readonly temporary: number;
  readonly children: number;
}

/** What five looks in a row agree on: connections that have ended are still being closed. */
async function settled(look: () => Look): Promise<Look> {
  const looks: Look[] = [];
  const last = (): number[] => looks.slice(-5).map(({ descriptors }) => descriptors);
  while (looks.length < 5 || new Set(last()).size > 1) {
    looks.push(look());
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return looks.at(-1) as Look;
}

const COUNT = Number(process.env.HANDOVER_CHAIN ?? 40);

it(
  `G7: ${COUNT} handovers in a row under light load leave descriptors, memory, processes and files as they were`,
  async () => {
    const folder = privateFolder();
    const { chain: processes, first } = await chain(server({ options: { probation: { duration: 0 } } }), {
      env: { TMPDIR: folder },
    });
    const visitors = new Visitors(await targetOf(first), 2);
    const look = (app: App): Look => ({
      descriptors: openDescriptors(app.pid).size,
      rss: Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${app.pid}/status`, 'utf8'))?.[1]) * 1024,
      temporary: readdirSync(folder).length,
      children: readFileSync(`/proc/${app.pid}/task/${app.pid}/children`, 'utf8').split(' ').filter(Boolean).length,
    });
    const looks: Look[] = [];
    let app = first;
    for (let count = 1; count <= COUNT; count++) {
      await app.upgrade();
      const next = await processes.generation(count + 1);
      await app.process.gone();
      await visitors.answered(next.pid, 3);
      app = next;
      // At rest: the visitors' own connections would be counted.
      if (count % 10 === 0) {
        await visitors.pause();
        looks.push(await settled(() => look(app)));
        visitors.resume();
      }
    }
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    const [atTen, atEnd] = [looks[0] as Look, looks.at(-1) as Look];
    const mib = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`;
    const slope = (atEnd.rss - atTen.rss) / (COUNT - 10);
    figures(
      `after 10 / ${COUNT} handovers: ${atTen.descriptors} / ${atEnd.descriptors} descriptors, RSS ${mib(atTen.rss)} / ` +
        `${mib(atEnd.rss)} (${(slope / 1024).toFixed(1)} KiB each), ${atTen.children} / ${atEnd.children} children, ` +
        `${atTen.temporary} / ${atEnd.temporary} temporary files`,
    );
    expect({ ...atEnd, rss: 0 }).toEqual({ ...atTen, rss: 0 });
    expect(atEnd.children).toBe(0);
    // Every process is a new one: its memory varies by where the garbage collector is, and must not grow.
    expect(atEnd.rss).toBeLessThan(atTen.rss * 1.15);
    await app.close();
  },
  15_000 + COUNT * 1_500,
);
