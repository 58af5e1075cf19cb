// `npm run bench -- switch`: that it runs, that it sees what is lost, and how it splits, scales and judges. Figures are not
// judged here: they belong to a quiet machine.
import { describe, expect, it } from 'vitest';
import { bootstrapInterval, percentile } from '../../bench/lib/stats.js';
import { staysFast } from '../../bench/switch/bars.js';
import { DAEMONS } from '../../bench/switch/daemons.js';
import type { Recording } from '../../bench/switch/load.js';
import type { Turn } from '../../bench/switch/turn.js';
import { availabilityOf, FOLLOW_UP, figuresOf, RESTARTS, SETTLING } from '../../bench/switch/window.js';
import { NO_COUNTS } from '../../dist/hammer/tally.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { benchReport, number, spread } from './run.js';

expectNoLeaks();
const programs = usePrograms();

const RUN_TIMEOUT = 100_000;
const EVERYBODY = [
  ...['handover, self', 'handover, standby', 'handover run', 'stop, start', 'pm2 reload', '@fastify/restartable'],
  ...['node:cluster', 'SO_REUSEPORT overlap', 'nginx reload', 'nginx binary upgrade', 'HAProxy seamless reload'],
];

interface Row {
  readonly system: string;
  readonly lost: number;
  readonly lostBy: Readonly<Record<string, number>>;
  readonly closed: number;
}

interface Report {
  readonly skipped: readonly string[];
  readonly rows: readonly Row[];
  readonly failures: readonly { readonly system: string }[];
  readonly expectations: readonly { readonly expectation: string; readonly reached: boolean }[];
}

describe('bench switch', () => {
  it.runIf(process.platform === 'linux')(
    'G1, G2, G3: --quick --json loses and closes nothing with this package, and sees what a stop and a start lose',
    async () => {
      const report = await benchReport<Report>(programs, 'switch', RUN_TIMEOUT);
      const ours = ['handover, self', 'handover, standby', 'handover run'];
      expect(report).toMatchObject({ bench: 'switch', quick: true, rounds: 1, bareStartMs: spread });
      // Each once: whoever is not there, or came too late on a slow machine, is named.
      const quickest = [...ours, 'stop, start'];
      const took = report.rows.map(({ system }) => system);
      expect(took.slice(0, quickest.length)).toEqual(quickest);
      const out = report.failures.map(({ system }) => system);
      expect([...new Set([...took, ...report.skipped, ...out])].sort()).toEqual([...EVERYBODY].sort());
      expect(took).toEqual(expect.arrayContaining(DAEMONS.filter(({ missing }) => !missing).map(({ name }) => name)));
      const latency = { p50: spread, p99: spread, max: spread };
      for (const row of report.rows) {
        expect(row).toEqual({
          system: row.system,
          switches: 1,
          answered: number,
          lost: number,
          lostBy: expect.any(Object),
          closed: number,
          triggerToAnswerMs: spread,
          ...(row.system === '@fastify/restartable' ? {} : { triggerToGoneMs: spread }),
          longestGapMs: spread,
          insideMs: latency,
          outsideMs: latency,
          restarts30Days: { lost: number, availability: number },
        });
      }
      for (const row of report.rows.slice(0, ours.length))
        expect(row).toMatchObject({ lost: 0, lostBy: {}, closed: 0 });
      const naive = report.rows[ours.length];
      expect(naive?.lostBy.refused).toBeGreaterThan(0);
      expect(naive?.closed).toBeGreaterThan(0);
      const lossless = report.expectations.filter(({ expectation }) => expectation === '0 lost, 0 closed');
      expect(lossless.map(({ reached }) => reached)).toEqual(ours.map(() => true));
    },
    RUN_TIMEOUT + 5_000,
  );
});

/** Answers that took so many ms, whole at so many ms. */
function recording(
  answers: readonly (readonly [at: number, took: number])[],
  losses: Recording['losses'] = [],
): Recording {
  return {
    at: Float64Array.from(answers, ([at]) => at),
    latency: Float64Array.from(answers, ([, took]) => took),
    by: new Uint8Array(answers.length),
    identities: ['1'],
    losses,
    counts: { ...NO_COUNTS, closedByServer: 3 },
  };
}

describe('the window of a switch', () => {
  const moments = { triggeredAt: 1_000, answeredAt: 1_100, goneAt: 1_500 };
  const end = 1_500 + FOLLOW_UP;

  it('counts a request as inside when any part of its life is, and leaves out what came while the load settled', () => {
    const { inside, outside } = figuresOf(
      recording([
        [SETTLING + 5, 6], // began too early
        [999, 10],
        [1_001, 20], // began before the trigger
        [1_200, 30],
        [end + 10, 40], // began before the end
        [end + 60, 50],
      ]),
      moments,
    );
    expect(inside).toEqual({ answers: 3, p50: 30, p99: 40, max: 40 });
    expect(outside).toEqual({ answers: 2, p50: 10, p99: 50, max: 50 });
  });

  it('measures from the trigger, and the longest time without an answer inside', () => {
    const found = figuresOf(
      recording([
        [100, 1],
        [990, 1],
        [1_100, 1],
        [1_300, 1],
        [1_700, 1],
        [2_500, 1],
      ]),
      moments,
    );
    expect(found).toMatchObject({ triggerToAnswer: 100, triggerToGone: 500, longestGap: 400, closed: 3 });
    // Nobody is answered any more: that is a gap, too.
    expect(figuresOf(recording([[1_050, 1]]), moments).longestGap).toBe(end - 1_050);
  });

  it('ends with the first answer of the new one where no process ends', () => {
    const stays = { triggeredAt: 1_000, answeredAt: 1_100, goneAt: undefined };
    const { inside, triggerToGone } = figuresOf(
      recording([
        [1_050, 1],
        [1_102 + FOLLOW_UP, 1],
      ]),
      stays,
    );
    expect(inside.answers).toBe(1);
    expect(triggerToGone).toBeUndefined();
  });

  it('counts losses by kind, wherever they fall, and both losses and answers in the rate', () => {
    const losses = (['refused', 'refused', 'short'] as const).map((kind) => ({ kind, detail: '', at: 1_200 }));
    const found = figuresOf(
      recording(
        [
          [1_000, 1],
          [2_000, 1],
        ],
        losses,
      ),
      moments,
    );
    expect(found).toMatchObject({ answered: 2, lost: 3, lostBy: { refused: 2, short: 1 }, rate: 2.5 });
  });
});

describe('what a switch costs in a month', () => {
  it('is what all restarts lose, of the requests of 30 days', () => {
    const { lost, availability } = availabilityOf(2, 100);
    expect(lost).toBe(2 * RESTARTS);
    expect(1 - availability).toBeCloseTo((2 * RESTARTS) / (100 * 30 * 24 * 3_600), 12);
    expect(availabilityOf(0, 100)).toEqual({ lost: 0, availability: 1 });
  });
});

describe('figures', () => {
  it('takes the smallest value that so many percent do not exceed', () => {
    const values = Array.from({ length: 200 }, (_, index) => index + 1);
    expect([0, 50, 99, 100].map((percent) => percentile(values, percent))).toEqual([1, 100, 198, 200]);
    expect(percentile([], 50)).toBeNaN();
  });

  it('bootstraps an interval that holds the median, and shrinks with the spread', () => {
    const wide = bootstrapInterval([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(wide.median).toBe(5.5);
    // The interval by order statistics of ten values goes from the second to the ninth.
    expect(wide.low).toBeGreaterThanOrEqual(2);
    expect(wide.low).toBeLessThan(4.5);
    expect(wide.high).toBeGreaterThan(6.5);
    expect(wide.high).toBeLessThanOrEqual(9);
    expect(bootstrapInterval([3, 3, 3, 3, 3, 3])).toEqual({ median: 3, low: 3, high: 3, of: 6, isConfident: true });
    expect(bootstrapInterval([1, 2, 3])).toEqual({ median: 2, low: 1, high: 3, of: 3, isConfident: false });
  });

  it('holds the bar of the latency missed while the interval reaches beyond it', () => {
    const turns = (ratios: readonly number[]): Turn[] =>
      ratios.map((ratio) => {
        const latency = { answers: 1, p50: 1, max: 1 };
        const figures = { inside: { ...latency, p99: ratio }, outside: { ...latency, p99: 1 } };
        return { figures } as unknown as Turn;
      });
    expect(staysFast('it', turns([1.2, 1.2, 1.2, 1.2, 1.3, 1.3])).reached).toBe(true);
    expect(staysFast('it', turns([1.2, 1.2, 1.2, 1.2, 1.9, 1.9, 1.9])).reached).toBe(false);
    expect(staysFast('it', turns([1.2])).reached).toBeUndefined();
  });
});
