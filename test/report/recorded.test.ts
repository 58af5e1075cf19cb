// `--timeline`: recorded handovers are found for the switches clients saw, and put on the run's axis of time.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseRun } from '../../lib/report/data.js';
import { readRecorded } from '../../lib/report/recorded.js';
import type { TimelinePart, TimelineSpan } from '../../lib/timeline.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { madeRun } from './runs.js';

expectNoLeaks();

const START = Date.UTC(2026, 0, 1);
const span = (name: string, startedAt: number, durationMs?: number, args?: TimelineSpan['args']): TimelineSpan => ({
  track: 'handover',
  name,
  startedAt,
  durationMs,
  args,
});

/** A handover asked for at `at` by the server's clock: spawn after 10 ms, READY after 300 more. */
function record(directory: string, id: string, at: number, pids: readonly [number, number]): void {
  const [old, young] = pids;
  const common = { version: 1, handoverId: id, node: 'v20', hasCompileCache: true, dropped: 0 } as const;
  const parts: TimelinePart[] = [
    {
      ...common,
      ...{ role: 'predecessor', pid: old, generation: 1, startedAt: at - 60_000 },
      ...{ bootstrappedAt: at - 59_900, openedAt: at - 59_800 },
      spans: [
        span('requested', at),
        span('spawn', at + 10, 5, { pid: young }),
        span('COMMIT', at + 320, 8),
        span('DRAIN', at + 330, 5_000),
      ],
    },
    {
      ...common,
      ...{ role: 'successor', pid: young, generation: 2, startedAt: at + 15, bootstrappedAt: at + 60 },
      ...{ openedAt: at + 100, spans: [span('start', at + 100, 210)] },
    },
  ];
  mkdirSync(directory, { recursive: true });
  for (const part of parts) writeFileSync(join(directory, `${id}.${part.role}.json`), JSON.stringify(part));
}

/** A run with a switch from process 100 to 200: triggered at 4,500 ms, first answer at 4,990 ms. */
const run = parseRun(
  madeRun({
    result: {
      switches: [
        { from: '100', to: '200', atMs: 4_990, triggeredAtMs: 4_500, triggerToFirstAnswerMs: 490, overlapMs: 10 },
      ],
    },
  }).split('\n'),
  'made up',
);

it('of one clock nothing is moved', () => {
  const directory = privateFolder();
  record(directory, 'one', START + 4_510, [100, 200]);
  const [found] = readRecorded(directory, run);
  expect(found).toMatchObject({ handoverId: 'one', switchIndex: 0, shiftMs: 0, spawnToReadyMs: 300 });
  expect(found?.path.map(({ name, startedAt }) => [name, startedAt])).toEqual([
    ['checks', 4_510],
    ['spawn', 4_520],
    ['Node starts', 4_525],
    ['modules load', 4_570],
    ['app', 4_610],
    ['waits for COMMIT', 4_820],
    ['COMMIT', 4_830],
  ]);
  const successor = found?.processes.find(({ role }) => role === 'successor');
  expect(successor?.spans.map(({ name, startedAt }) => [name, startedAt])).toEqual([
    ['Node starts', 4_525],
    ['modules load', 4_570],
    ['start', 4_610],
  ]);
});

it.each([
  // The request may not come before its trigger; the first answer not before READY.
  ['behind', -90_000, 90_000 - 10],
  ['ahead', 90_000, 4_990 - (4_510 + 310) - 90_000],
])('a clock that is %s is set by as little as puts causes before effects', (_, skew, shift) => {
  const directory = privateFolder();
  record(directory, 'one', START + 4_510 + skew, [100, 200]);
  expect(readRecorded(directory, run)).toMatchObject([{ switchIndex: 0, shiftMs: shift }]);
});

it('of several with the same process the nearest is it; others in the time of the run are shown, too', () => {
  const directory = privateFolder();
  record(directory, 'long-ago', START - 86_400_000, [100, 200]);
  record(directory, 'unseen', START + 8_000, [200, 300]);
  record(directory, 'later', START + 20_000, [300, 400]);
  record(directory, 'one', START + 4_510, [100, 200]);
  const found = readRecorded(directory, run);
  expect(found.map(({ handoverId, switchIndex }) => [handoverId, switchIndex])).toEqual([
    ['one', 0],
    ['unseen', undefined],
  ]);
});

it('a recording of another day is no recording of this run, whatever its pids', () => {
  const directory = privateFolder();
  record(directory, 'long-ago', START - 86_400_000, [100, 200]);
  expect(readRecorded(directory, run)).toEqual([]);
});

it('a recording is that of one switch only', () => {
  const directory = privateFolder();
  record(directory, 'one', START + 4_510, [100, 200]);
  const found = run.result.switches[0];
  const twice = { ...run, result: { ...run.result, switches: found === undefined ? [] : [found, found] } };
  expect(readRecorded(directory, twice)).toMatchObject([{ handoverId: 'one', switchIndex: 0 }]);
  record(directory, 'two', START + 6_000, [200, 200]);
  expect(readRecorded(directory, twice).map(({ switchIndex }) => switchIndex)).toEqual([0, 1]);
});
