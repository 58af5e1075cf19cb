// `--sla`: each line of the verdict with its reason, for runs that are made up; and how the command ends.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseRun } from '../../lib/report/data.js';
import type { Recorded } from '../../lib/report/recorded.js';
import { judgeRun } from '../../lib/report/verdict.js';
import { handover, jsonOf } from '../cli/command.js';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type MadeRun, madeRun } from './runs.js';

expectNoLeaks();

const SWITCH = { from: 'A', to: 'B', atMs: 4_990, triggeredAtMs: 4_500, triggerToFirstAnswerMs: 490, overlapMs: 10 };
const judged = (made: MadeRun, sla: '99' | '99.9' | '99.99' = '99.9', recorded: readonly Recorded[] = []) =>
  judgeRun(parseRun(madeRun(made).split('\n'), 'made up'), sla, recorded);
/** The line of one name, as `verdict reason`. */
const line = (name: string, made: MadeRun, ...more: [('99' | '99.9' | '99.99')?, (readonly Recorded[])?]): string => {
  const found = judged(made, ...more).lines.find((one) => one.name === name);
  return `${found?.verdict} ${found?.reason}`;
};
const started = (ms: number | null): MadeRun => ({ result: { switches: [{ ...SWITCH, triggerToFirstAnswerMs: ms }] } });
const gap = (ms: number): MadeRun => ({ details: { switchGapsMs: [ms] } });
const lost = (count: number, ok = 40_000): MadeRun => ({ result: { requests: { ok: ok - count, lost: count } } });

it('GO: a run within all limits, line by line', () => {
  expect(judged({}, '99.99')).toEqual({
    sla: '99.99',
    verdict: 'GO',
    lines: [
      {
        name: 'start',
        verdict: 'GO',
        reason: 'at most 490 ms, the limit is 5 s (trigger to first answer of 1 of 1 switches)',
      },
      {
        name: 'switch',
        verdict: 'GO',
        reason: 'at most 5 ms, the limit is 1 s (the longest gap without an answer around each)',
      },
      { name: 'lost', verdict: 'GO', reason: '0 of 40000 requests (0 %), the error budget is 0.01 %' },
      { name: 'triggers', verdict: 'GO', reason: '1 of 1, 1 switches seen' },
    ],
  });
});

describe('the limits', () => {
  it.each([
    ['99', 60_000, 10_000],
    ['99.9', 15_000, 3_000],
    ['99.99', 5_000, 1_000],
  ] as const)('of %s: start %d ms, switch %d ms; within 20 % REVIEW, beyond NO-GO', (sla, startMs, switchMs) => {
    expect(line('start', started(startMs * 0.79), sla)).toMatch(/^GO /);
    expect(line('start', started(startMs * 0.81), sla)).toMatch(/^REVIEW within 20 % of the limit: at most/);
    expect(line('start', started(startMs), sla)).toMatch(/^REVIEW/);
    expect(line('start', started(startMs + 1), sla)).toMatch(/^NO-GO at most/);
    expect(line('switch', gap(switchMs * 0.79), sla)).toMatch(/^GO /);
    expect(line('switch', gap(switchMs * 0.81), sla)).toMatch(/^REVIEW within 20 % of the limit/);
    expect(line('switch', gap(switchMs + 1), sla)).toMatch(/^NO-GO at most/);
  });

  it.each([
    ['99', 400],
    ['99.9', 40],
    ['99.99', 4],
  ] as const)('of %s: %d of 40,000 requests may be lost', (sla, budget) => {
    expect(line('lost', lost(budget + 1), sla)).toMatch(/^NO-GO/);
    expect(line('lost', lost(budget), sla)).toMatch(/^REVIEW within 20 % of the budget/);
    const half = lost(Math.floor(budget / 2), 40_000);
    // Of so few losses chance alone may have made the half.
    expect(line('lost', half, sla)).toMatch(sla === '99.99' ? /^REVIEW .* too few .* it takes 63000 for 2/ : /^GO/);
  });

  it('what was never sent is lost, too', () => {
    const never = line('lost', { details: { notSent: 500 } });
    expect(never).toMatch(/^NO-GO 500 of 40500 requests \(1.23 %\), 500 of them never sent, the error budget/);
  });

  it('too few requests show nothing', () => {
    expect(line('lost', lost(0, 2_999), '99.9')).toMatch(/^REVIEW .* 2999 requests are too few .* it takes 3000/);
    expect(line('lost', lost(0, 3_000), '99.9')).toMatch(/^GO/);
    expect(line('lost', lost(1, 4_700), '99.9')).toMatch(/^REVIEW .* it takes 4800 for 1 of them lost/);
    expect(line('lost', lost(1, 4_800), '99.9')).toMatch(/^GO/);
    expect(line('lost', lost(0, 0), '99')).toBe('REVIEW there was no request');
  });
});

describe('what was not measured', () => {
  it('a switch without a trigger has no start: REVIEW, unless a timeline has it', () => {
    expect(line('start', started(null))).toBe('REVIEW 1 of 1 switches could not be measured (no trigger, no timeline)');
    const recorded: Recorded = {
      handoverId: 'x',
      switchIndex: 0,
      shiftMs: 0,
      spawnToReadyMs: 321,
      processes: [],
      path: [],
      hints: [],
    };
    expect(line('start', started(null), '99.9', [recorded])).toBe(
      'GO at most 321 ms, the limit is 15 s (spawn to READY of 1 of 1 switches)',
    );
  });

  it('no switch at all: REVIEW', () => {
    const none: MadeRun = { details: { triggers: [], switchGapsMs: [] }, result: { switches: [] } };
    expect(judged(none).verdict).toBe('REVIEW');
    expect(line('start', none)).toBe('REVIEW no switch was seen');
    expect(line('switch', none)).toBe('REVIEW no switch was seen');
    expect(line('triggers', { ...none, details: { ...none.details, identities: [] } })).toMatch(/^REVIEW .*--identify/);
  });

  it('a trigger that failed: NO-GO; one that nothing came of: REVIEW until the limit for the start is over', () => {
    const triggers = (atMs: number, error?: string): MadeRun => ({
      details: { triggers: [{ atMs: 4_500 }, { atMs, ...(error && { error }) }], elapsedMs: 30_000 },
    });
    expect(line('triggers', triggers(9_000, 'no such process'))).toBe(
      'NO-GO 1 of 2 failed, the first at 9.0 s: no such process',
    );
    expect(line('triggers', triggers(20_000))).toMatch(
      /^REVIEW no new process answered the trigger at 20.0 s in the 10.0 s after it/,
    );
    expect(line('triggers', triggers(10_000))).toMatch(
      /^NO-GO no new process answered the trigger at 10.0 s in the 20.0 s after it/,
    );
  });

  it('a late switch is the answer to one trigger, not to every one before it', () => {
    const late = (atMs: number): MadeRun => ({
      details: { triggers: [{ atMs: 1_000 }, { atMs: 2_000 }], elapsedMs: 10_000 },
      result: { switches: [{ ...SWITCH, atMs, triggeredAtMs: 1_000, triggerToFirstAnswerMs: atMs - 1_000 }] },
    });
    expect(line('triggers', late(9_000))).toMatch(/^REVIEW no new process answered the trigger at 2.0 s/);
    expect(line('triggers', late(9_000), '99.99')).toMatch(/^NO-GO no new process answered the trigger at 2.0 s/);
    expect(line('start', late(9_000), '99.99')).toMatch(/^NO-GO at most 8 s/);
  });

  it('one NO-GO decides', () => {
    const both: MadeRun = { details: { switchGapsMs: [9_000] }, result: { requests: { ok: 100, lost: 0 } } };
    expect(judged(both).lines.map(({ verdict }) => verdict)).toEqual(['GO', 'NO-GO', 'REVIEW', 'GO']);
    expect(judged(both).verdict).toBe('NO-GO');
  });
});

it.each([
  ['GO', 0, {}],
  ['REVIEW', 5, gap(2_900)],
  ['NO-GO', 1, gap(3_001)],
] as const)('the command ends %s with %d, and says why', async (verdict, code, made) => {
  const data = join(privateFolder(), 'data.json');
  writeFileSync(data, madeRun(made));
  const ended = await handover(['report', data, '--sla', '99.9', '--json']);
  expect(ended).toMatchObject({ code, stderr: '' });
  expect(jsonOf(ended)).toMatchObject([{ type: 'report', sla: '99.9', verdict, exitCode: code }]);
  const people = await handover(['report', data, '--sla', '99.9']);
  expect(people.code).toBe(code);
  expect(people.stdout).toMatch(new RegExp(`^verdict +${verdict} for 99.9 %\n +start +GO`));
});
