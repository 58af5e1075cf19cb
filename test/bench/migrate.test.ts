// `npm run bench -- migrate`: that it runs, and what it reports. Figures are not judged here: they belong to a quiet machine.
import { describe, expect, it } from 'vitest';
import { reaches, verdictOf } from '../../bench/lib/expectations.js';
import { lineThrough, medianInterval } from '../../bench/lib/stats.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { benchReport, interval, number, spread } from './run.js';

expectNoLeaks();
const programs = usePrograms();

const RUN_TIMEOUT = 60_000;

describe('bench migrate', () => {
  it.runIf(process.platform === 'linux')(
    'G3: --quick --json moves 100, 1,000 and 10,000 connections and says what each cost, leaving no process and no file',
    async () => {
      const report = await benchReport<{ rows: object[] }>(programs, 'migrate', RUN_TIMEOUT);
      expect(report).toMatchObject({ bench: 'migrate', quick: true, rounds: 1, throughputRatio: interval });
      expect(report).toMatchObject({ linear: { fixedMs: number, usPerConnection: number, deviation: number } });
      expect(report).toMatchObject({ firstRequest: { parkedUs: number, ordinaryUs: number, extraUs: interval } });
      expect(report.rows).toEqual(
        [100, 1_000, 10_000].map((connections) => ({
          connections,
          usPerConnection: spread,
          transferUsPerConnection: spread,
          loopDelayMaxMs: number,
          loopDelayWorstMs: number,
          reconnectTcpUs: number,
          reconnectTlsUs: expect.toSatisfy((us) => us === null || typeof us === 'number'),
        })),
      );
    },
    RUN_TIMEOUT + 5_000,
  );
});

describe('the confidence interval of a median', () => {
  it('is where coins would put it', () => {
    const values = Array.from({ length: 11 }, (_, i) => i + 1);
    // The second to the tenth of eleven: 98.8 %; the third to the ninth would be 93.5 %.
    expect(medianInterval(values)).toEqual({ median: 6, low: 2, high: 10, of: 11, isConfident: true });
    // The first to the sixth of six: 96.9 %.
    expect(medianInterval([3, 1, 2, 6, 5, 4])).toEqual({ median: 3.5, low: 1, high: 6, of: 6, isConfident: true });
  });

  it('is none of five values: a bar that needs one is not shown, and the figures are called what they are', () => {
    const five = medianInterval([3, 1, 2, 5, 4]);
    expect(five).toEqual({ median: 3, low: 1, high: 5, of: 5, isConfident: false });
    expect(reaches('it', 1, five)).toMatchObject({
      measured: expect.stringContaining('min to max of 5'),
      reached: undefined,
    });
    expect(verdictOf(reaches('it', 1, five))).toBe('not shown, too few rounds');
    expect(reaches('it', 6, medianInterval([3, 1, 2, 6, 5, 4])).reached).toBe(true);
    expect(reaches('it', 7, medianInterval([3, 1, 2, 6, 5, 4])).reached).toBe(false);
  });
});

describe('the line through some points', () => {
  const points = (of: (x: number) => number) => [100, 1_000, 10_000].map((x) => [x, of(x)] as const);

  it('is found where they are on one', () => {
    const { fixed, slope, deviation } = lineThrough(points((x) => 5_000 + 30 * x));
    expect([fixed, slope]).toEqual([expect.closeTo(5_000), expect.closeTo(30)]);
    expect(deviation).toBeCloseTo(0);
  });

  it('says how far they are from it', () => {
    // A quarter more each by the size: no line comes near.
    const { deviation } = lineThrough([
      [100, 8_000],
      [1_000, 45_000],
      [10_000, 300_000],
    ]);
    expect(deviation).toBeGreaterThan(0.1);
    expect(deviation).toBeLessThan(0.3);
  });
});
