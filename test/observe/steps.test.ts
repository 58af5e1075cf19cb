// Steps of a start: their order, side by side where they can be, and what one that fails does to the rest.
import { expect, it } from 'vitest';
import { type App, boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();
const { chain } = useApps();

interface StepEvent {
  readonly name: string;
  readonly after: readonly string[];
  readonly startedAt: number;
  readonly durationMs: number;
  readonly hasFailed: boolean;
}

const stepped = boot(async (inside) => {
  process.getBuiltinModule('node:diagnostics_channel').subscribe('handover:step', (step) => inside.say('step', step));
  const warmup = () => inside.say('ran', 'warmup');
  const handover = await inside.open({ probation: { duration: 0 }, warmup });
  const wait = (name: string, ms: number) => () =>
    new Promise<string>((resolve) => {
      const end = (): void => {
        inside.say('ran', name);
        resolve(name);
      };
      setTimeout(end, ms);
    });
  void handover.step('slow', wait('slow', 80));
  void handover.step('quick', wait('quick', 40));
  void handover.step('last', wait('last', 1), { after: ['slow', 'quick'] });
  inside.say('result', await handover.step('middle', wait('middle', 1), { after: 'quick' }));
  await inside.listen('http', { port: 0, host: '127.0.0.1' });
  await handover.ready();
  inside.say('ran', 'ready');
});

const stepsOf = (app: App): StepEvent[] => app.allSaid('step') as StepEvent[];

it('G8: independent steps run side by side, others after what they name, and ready() waits for all of them', async () => {
  const { first } = await chain(stepped);
  expect(first.allSaid('ran')).toEqual(['quick', 'middle', 'slow', 'last', 'warmup', 'ready']);
  expect(first.allSaid('result')).toEqual(['middle']);
  const steps = stepsOf(first);
  expect(steps.map(({ name, after, hasFailed }) => [name, after, hasFailed])).toEqual([
    ['quick', [], false],
    ['middle', ['quick'], false],
    ['slow', [], false],
    ['last', ['slow', 'quick'], false],
    ['handover:warmup', ['slow', 'quick', 'last', 'middle'], false],
  ]);
  const end = (name: string): number => {
    const { startedAt = 0, durationMs = 0 } = steps.find((step) => step.name === name) ?? {};
    return startedAt + durationMs;
  };
  const [quick, , slow, last] = steps;
  // Milliseconds since the epoch, and both began before either had ended.
  expect(Math.abs((slow?.startedAt ?? 0) - Date.now())).toBeLessThan(60_000);
  expect(slow?.startedAt).toBeLessThan(end('quick'));
  expect(quick?.startedAt).toBeLessThan(end('quick'));
  expect(last?.startedAt).toBeGreaterThanOrEqual(end('slow'));
  await first.close();
});

it('G8: a step that fails fails those after it and ready(), with its own error', async () => {
  const work = boot(async ({ open, say }) => {
    const handover = await open();
    const text = (promise: Promise<unknown>) => promise.then(String, (error: Error) => error.message);
    const failing = handover.step('a', () => Promise.reject(new Error('no database')));
    const next = handover.step('b', () => say('ran', 'b'), { after: 'a' });
    say('result', [await text(failing), await text(next), await text(handover.ready())]);
  });
  // Nothing listens: it ends by itself.
  const { first } = await chain(work);
  expect(await first.said('result')).toEqual(['no database', 'no database', 'no database']);
  expect(first.allSaid('ran')).toEqual([]);
  await first.gone();
});

it('G5: a step of the successor that fails, with nobody to look, leaves the predecessor serving', async () => {
  const failing = boot(async (inside) => {
    const handover = await inside.open();
    void handover.step('database', () => Promise.reject(new Error('no database')));
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    await handover.ready();
  });
  const { first } = await chain([stepped, failing]);
  const failure = await first.upgrade().then(
    () => undefined,
    (error: { code: string; stderr: string }) => error,
  );
  expect(failure?.code).toBe('ERR_HANDOVER_SUCCESSOR_EXITED');
  expect(failure?.stderr).toContain('no database');
  expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
  await first.close();
});

it('names what is wrong with a step, and runs nothing', async () => {
  const work = boot(async ({ open, say }) => {
    const handover = await open();
    const step = handover.step.bind(handover) as (...args: unknown[]) => Promise<unknown>;
    const run = () => say('ran');
    const wrong = [
      ['a', run, { after: 'nothing' }],
      ['a', run, { after: 1 }],
      ['a', run, { before: 'b' }],
      ['a', 'run'],
      ['', run],
      ['handover:a', run],
    ];
    const said = [];
    for (const args of wrong) {
      try {
        await step(...args);
      } catch (error) {
        said.push([(error as Error).name, (error as Error).message]);
      }
    }
    await step('a', () => {});
    await step('a', run).catch((error: Error) => said.push([error.name, error.message]));
    say('result', said);
  });
  const { first } = await chain(work);
  expect(await first.said('result')).toEqual([
    ['TypeError', '"options.after" must be the name of a step declared before. Received \'nothing\''],
    ['TypeError', expect.stringContaining('"options.after" must be')],
    ['TypeError', expect.stringContaining('before')],
    ['TypeError', '"run" must be a function. Received \'run\''],
    ['TypeError', expect.stringContaining('"name" must be')],
    ['TypeError', expect.stringContaining('"name" must be')],
    ['TypeError', '"name" must be one that no other step has. Received \'a\''],
  ]);
  expect(first.allSaid('ran')).toEqual([]);
  await first.gone();
});
