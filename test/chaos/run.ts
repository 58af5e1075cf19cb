// `npm run test:chaos`: random schedules of blows over handovers of every kind. See README.md for its options.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Deferred } from '../../lib/protocol/deferred.js';
import { type Reference, Round, type RoundResult } from './round.js';
import { MODES, type Mode, parseSchedule, type Schedule, scheduleOf } from './schedule.js';
import { explain, failed, formatTable, summary } from './table.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '180' },
    seed: { type: 'string' },
    mode: { type: 'string', multiple: true },
    schedules: { type: 'string' },
    schedule: { type: 'string' },
    logs: { type: 'string' },
    parallel: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});

const PROGRESS_INTERVAL = 15_000;
const USUAL_LENGTH = 25_000;

const say = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);
const number = (name: string, text: string): number => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`--${name} must be an integer >= 0, not '${text}'`);
  return value;
};

const seed = number('seed', values.seed ?? String(Date.now() % 1_000_003));
const seconds = number('seconds', values.seconds);
const most = values.schedules === undefined ? Number.POSITIVE_INFINITY : number('schedules', values.schedules);
const modes = (values.mode ?? [...MODES]).map((name): Mode => {
  const mode = MODES.find((each) => each === name);
  if (!mode) throw new RangeError(`--mode must be one of ${MODES.join(', ')}, not '${name}'`);
  return mode;
});

const started = performance.now();
const results: RoundResult[] = [];
const references = new Map<Mode, Reference>();
let running = 0;

async function play(schedule: Schedule): Promise<void> {
  const reference = references.get(schedule.mode) ?? new Deferred();
  references.set(schedule.mode, reference);
  running += 1;
  const result = await new Round(schedule, reference).run();
  running -= 1;
  results.push(result);
  const { mode, seed: own } = schedule;
  say(
    `${failed(result) ? 'FAILED' : 'ok    '} ${String(result.durationMs).padStart(6)} ms  --mode ${mode} --seed ${own}`,
  );
  if (failed(result) && values.logs !== undefined) {
    const lines = result.said.map((said) => `${JSON.stringify(said)}\n`);
    mkdirSync(values.logs, { recursive: true });
    writeFileSync(join(values.logs, `${mode}-${own}.jsonl`), lines.join(''));
  }
  if (failed(result) || values.verbose) say(explain(result, values.verbose));
}

/** The modes in turn, seed by seed. */
function* schedules(): Generator<{ readonly schedule: Schedule; readonly isNeeded: boolean }> {
  for (let i = 0; i < most; i++) {
    for (const mode of modes) {
      // What a server holds that nothing has happened to.
      if (i === 0) yield { schedule: { mode, seed, workers: 1, steps: [] }, isNeeded: true };
      yield { schedule: scheduleOf(mode, seed + i), isNeeded: i === 0 };
    }
  }
}

/** Some at a time, as long as one more is over in time; the first of each mode in any case. */
async function playAll(): Promise<void> {
  const queue = schedules();
  const end = started + seconds * 1_000;
  const work = async (): Promise<void> => {
    for (let next = queue.next(); !next.done; next = queue.next()) {
      const { schedule, isNeeded } = next.value;
      if (!isNeeded && performance.now() + USUAL_LENGTH > end) return;
      await play(schedule);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, number('parallel', values.parallel)) }, work));
}

const progress = setInterval(() => {
  say(
    `… ${Math.round((performance.now() - started) / 1000)} s, ${results.length} schedules played, ${running} under way`,
  );
}, PROGRESS_INTERVAL);
progress.unref();
say(`seed ${seed}`);
if (values.schedule !== undefined) {
  const schedule = parseSchedule(readFileSync(values.schedule, 'utf8'));
  await Promise.all([play({ ...schedule, workers: 1, steps: [] }), play(schedule)]);
} else {
  await playAll();
}
clearInterval(progress);
say(`\n${formatTable(results)}\n`);
say(`seed ${seed}, ${Math.round((performance.now() - started) / 1000)} s`);
if (values.json) process.stdout.write(`${JSON.stringify(summary(results, seed))}\n`);
process.exitCode = results.some(failed) ? 1 : 0;
