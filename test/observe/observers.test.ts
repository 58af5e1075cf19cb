// G5: whoever looks on stops no server: an observer that throws, cannot write, or is not wanted any more.
import { expect, it } from 'vitest';
import { boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();
const { chain } = useApps();

it('G5: a logger that throws ends neither process, and everybody else is told of it', async () => {
  const logged = boot(async (inside) => {
    const { logHandover } = (await inside.load('handover/log')) as typeof import('../../lib/log.js');
    const full = (): void => {
      throw new Error('the disk is full');
    };
    logHandover({ info: full, warn: full, error: full });
    await inside.open({ probation: { duration: 0 } });
    await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
    await inside.handover.ready();
  });
  const { chain: processes, first } = await chain(logged);
  await first.upgrade();
  await first.gone();
  const failed = { name: 'log', error: { name: 'Error', message: 'the disk is full' } };
  // listen, in-charge, requested, superseded, drained.
  expect(first.allSaid('handover:hook-failed')).toEqual(Array.from({ length: 5 }, () => failed));
  await (await processes.generation(2)).close();
});

it('G5: nobody reads stderr any more: lines are lost, and no process', async () => {
  const logged = boot(async (inside) => {
    const { logHandover, stderrLogger } = (await inside.load('handover/log')) as typeof import('../../lib/log.js');
    const { socketpair, dup3, closeFds } = (await inside.load('handover/fd')) as typeof import('../../lib/fd/index.js');
    const pair = socketpair();
    await inside.open({ probation: { duration: 0 } });
    dup3(pair[0], 2);
    closeFds(pair);
    logHandover(stderrLogger);
    await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
    await inside.handover.ready();
  });
  const { chain: processes, first } = await chain(logged);
  await first.upgrade();
  await first.gone();
  await (await processes.generation(2)).close();
});

it('G7: refused handovers that were to be profiled leave no subscriptions', async () => {
  const { first } = await chain(
    boot(async (inside) => {
      await inside.open();
      await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    }),
  );
  const counts = await first.run(async ({ handover }) => {
    const { channel } = process.getBuiltinModule('node:diagnostics_channel');
    const count = (): number =>
      (channel('handover:outcome') as unknown as { _subscribers?: [] })._subscribers?.length ?? 0;
    const standby = await handover.prepare();
    const before = count();
    // A standby waits: each is refused.
    for (let i = 0; i < 5; i++) await handover.upgrade({ profile: 'profiles' }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    const after = count();
    await standby.discard();
    return [before, after];
  });
  expect(counts[1]).toBe(counts[0]);
  await first.close();
});

it('G7: metrics that cannot be registered, and a server that cannot be served, leave no subscriptions', async () => {
  const work = boot(async (inside) => {
    const { channel } = process.getBuiltinModule('node:diagnostics_channel');
    const { registerMetrics } = (await inside.load('handover/metrics')) as typeof import('../../lib/metrics.js');
    const handover = await inside.open();
    const registry = {
      registerMetric: (): void => {
        throw new Error('registered already');
      },
    };
    const metrics = (): boolean => channel('handover:certificates').hasSubscribers;
    try {
      registerMetrics(handover, registry);
    } catch (error) {
      inside.say('metrics', [(error as Error).message, metrics()]);
    }
    const logged = (): boolean => channel('handover:stuck').hasSubscribers;
    // It is open already.
    await inside.lib.serve(inside.create('http'), { port: 0, log: true }).catch(({ code }) => {
      inside.say('serve', [code, logged()]);
    });
  });
  const { first } = await chain(work);
  expect(await first.said('metrics')).toEqual(['registered already', false]);
  expect(await first.said('serve')).toEqual(['ERR_HANDOVER_ALREADY_OPEN', false]);
  await first.gone();
});
