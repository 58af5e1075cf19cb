// A standby is ready and waits: it accepts nothing before COMMIT, and what it gets is the state of COMMIT.
import type net from 'node:net';
import { expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, figures, LOCALHOST, server, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const { chain } = useApps();

/** In the program: keeps a standby for the functions to come, and says when it is lost. */
const prepare = async ({ handover, kept, say }: import('../handover/apps.js').Inside): Promise<number> => {
  const standby = await handover.prepare();
  kept.standby = standby;
  void standby.lost.then((error) => say('lost', String(error)));
  return standby.pid;
};

const commit = ({ kept }: import('../handover/apps.js').Inside) =>
  (kept.standby as import('../../lib/index.js').Standby).commit();

it('G1, G2: a standby accepts nothing, and everything once it is committed', async () => {
  const { chain: processes, first } = await chain(
    server({ before: ({ handover }) => handover.keep('state', Buffer.from('of the beginning')) }),
  );
  const target = await targetOf(first);
  const visitors = new Visitors(target);
  const pid = await first.run(prepare);
  await visitors.answered(first.pid, 50);
  expect(visitors.answers.get(pid)).toBeUndefined();
  const second = await processes.generation(2);
  expect(second.pid).toBe(pid);
  expect(await second.run(({ handover }) => handover.isInCharge)).toBe(false);
  expect(second.allSaid('server')).toEqual([]);
  expect(second.allSaid('duty')).toEqual([]);

  const start = performance.now();
  const outcome = await first.run(commit);
  const committed = performance.now() - start;
  await visitors.answered(pid, 1);
  const answered = performance.now() - start;
  figures(
    `standby: committed in ${committed.toFixed(1)} ms, first answer of the successor after ${answered.toFixed(1)} ms`,
  );
  // No process is started any more: it takes milliseconds, on a loaded machine, too.
  expect(committed).toBeLessThan(500);
  expect(outcome).toMatchObject({ pid, generation: 2 });
  await second.booted;
  await visitors.answered(pid, 10);
  await visitors.stop();
  expect([visitors.refused, visitors.lost]).toEqual([[], []]);
  await first.process.gone();
  await second.close();
});

it('state is that of COMMIT, and a listener bound after prepare() goes along', async () => {
  const first_ = server({
    before: ({ handover, kept }) => {
      kept.count = 1;
      handover.keep('count', () => Buffer.from(String(kept.count)));
      handover.keep('fixed', Buffer.from('at prepare'));
    },
  });
  const second_ = server({
    before: async ({ handover, kept, say, create }) => {
      kept.early = handover.inherited('count')?.bytes().toString() ?? null;
      say('fixed', handover.inherited('fixed')?.bytes().toString());
      handover.whenInCharge(async () => {
        say('count', handover.inherited('count')?.bytes().toString());
        say('fixed', handover.inherited('fixed')?.bytes().toString());
        say('late', await handover.listen(create('http'), { name: 'late', port: 0, host: '127.0.0.1' }));
      });
    },
  });
  const { chain: processes, first } = await chain([first_, second_]);
  await first.run(prepare);
  const second = await processes.generation(2);
  expect(await second.run(({ kept }) => kept.early)).toBeNull();
  const late = await first.run(async ({ handover, kept, create }) => {
    kept.count = 2;
    handover.keep('fixed', Buffer.from('at commit'));
    return handover.listen(create('http'), { name: 'late', port: 0, host: '127.0.0.1' });
  });
  const target = { port: (late.address as net.AddressInfo).port, host: LOCALHOST };
  const visitors = new Visitors(target);
  await visitors.answered(first.pid, 5);
  await first.run(commit);
  expect(await second.said('count')).toBe('2');
  expect(await second.said('fixed', 2)).toBe('at commit');
  expect(second.allSaid('fixed')).toEqual(['at prepare', 'at commit']);
  expect(await second.said('late')).toMatchObject({ origin: 'inherited', address: late.address });
  await visitors.answered(second.pid, 5);
  await visitors.stop();
  expect(visitors.refused).toEqual([]);
  await first.process.gone();
  await second.close();
});

it('warmup runs before READY, in a standby and in any other successor', async () => {
  const warm = server({
    options: { probation: { duration: 0 } },
    warmup: ({ say, handover }) => {
      say('warm', handover.isInCharge);
      return new Promise((resolve) => setTimeout(resolve, 200));
    },
  });
  const { chain: processes, first } = await chain(warm);
  expect(first.allSaid('warm')).toEqual([false]);
  const visitors = new Visitors(await targetOf(first));
  await first.run(prepare);
  const second = await processes.generation(2);
  expect(second.allSaid('warm')).toEqual([false]);
  await first.run(commit);
  await second.booted;
  await first.process.gone();
  const { phases } = await second.upgrade();
  expect(phases[0]).toMatchObject({ name: 'PREPARE' });
  expect(phases[0]?.durationMs).toBeGreaterThan(200);
  await visitors.stop();
  expect([visitors.refused, visitors.lost]).toEqual([[], []]);
  await second.process.gone();
  await (await processes.generation(3)).close();
});

it('discard() and await using end a standby, and the next can be prepared', async () => {
  const { chain: processes, first } = await chain(server({ options: { probation: { duration: 0 } } }));
  await first.run(prepare);
  const second = await processes.generation(2);
  await first.run(({ kept }) => (kept.standby as import('../../lib/index.js').Standby).discard());
  expect(second.process.alive()).toBe(false);
  const third = await first.run(async ({ handover, kept }) => {
    kept.standby = await handover.prepare();
    const { pid } = kept.standby as import('../../lib/index.js').Standby;
    await (kept.standby as AsyncDisposable)[Symbol.asyncDispose]();
    return pid;
  });
  expect(third).toBe((await processes.generation(3)).pid);
  expect((await processes.generation(3)).process.alive()).toBe(false);
  expect(first.allSaid('duty')).toEqual(['start']);
  expect(first.allSaid('handover:standby-lost')).toEqual([]);
  // Committed after that: too late, and said so.
  expect(await failureOf(first, commit)).toMatchObject({ code: 'ERR_HANDOVER_ABORTED', stillServing: true });
  const { pid } = await first.upgrade();
  await first.process.gone();
  const last = await processes.generation(4);
  expect(last.pid).toBe(pid);
  await last.close();
});

it('G8: a standby that dies is reported, cannot be committed, and can be replaced', async () => {
  const { chain: processes, first } = await chain(server());
  await first.run(prepare);
  const second = await processes.generation(2);
  second.process.signal('SIGKILL');
  expect(await first.said('lost')).toMatch(/SIGKILL/);
  expect(await first.said('handover:standby-lost')).toMatchObject({
    generation: 2,
    error: expect.stringMatching(/SIGKILL/),
  });
  expect(await failureOf(first, commit)).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', stillServing: true });
  expect(first.allSaid('server')).toEqual(['listening']);
  const pid = await first.run(prepare);
  expect((await first.run(commit)).pid).toBe(pid);
  await first.process.gone();
  await (await processes.generation(3)).close();
});

it('G5, G8: SIGTERM to a standby ends it; its predecessor serves and knows', async () => {
  const graceful = server({ before: ({ handover }) => void process.on('SIGTERM', () => void handover.close()) });
  const { chain: processes, first } = await chain(graceful);
  const target = await targetOf(first);
  await first.run(prepare);
  const second = await processes.generation(2);
  second.process.signal('SIGTERM');
  expect(await first.said('lost')).toMatch(/shutting down/);
  await second.process.gone();
  expect(await visit(target)).toEqual({ pid: first.pid });
  await first.close();
});

it('closing the predecessor ends its standby', async () => {
  const { chain: processes, first } = await chain(server());
  await first.run(prepare);
  const second = await processes.generation(2);
  await first.close();
  await second.process.gone();
});

it('G5: a standby whose predecessor is killed is in charge', async () => {
  const { chain: processes, first } = await chain(server());
  const target = await targetOf(first);
  await first.run(prepare);
  const second = await processes.generation(2);
  first.process.signal('SIGKILL');
  await second.said('duty');
  expect(await visit(target)).toEqual({ pid: second.pid });
  await second.booted;
  await second.close();
});
