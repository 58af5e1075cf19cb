// How sure a report is of a change: intervals that hold what they promise, and counts against counts.
import { describe, expect, it } from 'vitest';
import { LatencyCounts } from '../../lib/hammer/distribution.js';
import { median, mostExpected, rateRatioInterval, ratioInterval } from '../../lib/report/statistics.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
/** Numbers that look random, the same in each run. */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

describe('the interval of a ratio', () => {
  it('holds 1 for two samples of the same in about 95 of 100 cases', () => {
    const draw = noise(7);
    const sample = (): number[] => Array.from({ length: 60 }, () => 100 + draw() * 50);
    const covered = Array.from({ length: 100 }, () => ratioInterval(sample(), sample(), mean)).filter(
      (interval) => interval !== undefined && interval.low <= 1 && interval.high >= 1,
    );
    expect(covered.length).toBeGreaterThan(85);
  });

  it('does not hold 1 for a sample that is a fifth more', () => {
    const draw = noise(11);
    const [base, more] = [1, 1.2].map((factor) => Array.from({ length: 60 }, () => factor * (100 + draw() * 50)));
    const interval = ratioInterval(base ?? [], more ?? [], mean);
    expect(interval?.low).toBeGreaterThan(1.1);
    expect(interval?.high).toBeLessThan(1.3);
  });

  it('is none of too few, or of nothing', () => {
    expect(ratioInterval([1, 2, 3], [1, 2, 3], mean)).toBeUndefined();
    expect(ratioInterval(new Array<number>(40).fill(0), new Array<number>(40).fill(1), mean)).toBeUndefined();
  });
});

describe('the interval of two rates', () => {
  const rates = (base: number, current: number) =>
    rateRatioInterval({ count: base, exposure: 1_000 }, { count: current, exposure: 1_000 });

  it('is that of Clopper and Pearson for small counts', () => {
    // Of 4 events all in the current run: the share is at least 0.025^(1/4) = 0.3976.
    expect(rates(0, 4)).toEqual({ low: expect.closeTo(0.3976 / 0.6024, 2), high: Number.POSITIVE_INFINITY });
    expect(rates(4, 0)).toEqual({ low: 0, high: expect.closeTo(0.6024 / 0.3976, 2) });
    // 10 of 20: the share is within 0.2720 and 0.7280.
    expect(rates(10, 10)).toEqual({ low: expect.closeTo(0.3736, 2), high: expect.closeTo(2.676, 2) });
  });

  it('goes on smoothly into large counts, and is none of nothing', () => {
    const [small, large] = [rates(29, 29), rates(31, 31)];
    expect((small?.high ?? 0) / (large?.high ?? 0)).toBeCloseTo(1, 0);
    expect(rates(400, 800)?.low).toBeGreaterThan(1.7);
    expect(rates(0, 0)).toBeUndefined();
  });
});

describe('latency counts', () => {
  it('merge to percentiles that are exact to a bucket', () => {
    const draw = noise(3);
    const values = Array.from({ length: 20_000 }, () => 100 + draw() ** 4 * 50_000);
    const parts = [new LatencyCounts(), new LatencyCounts()];
    values.forEach((value, index) => {
      parts[index % 2]?.record(value);
    });
    const all = new LatencyCounts();
    // As they travel in a tick, and as they are merged.
    all.add(JSON.parse(JSON.stringify(parts[0])) as Record<string, number>);
    all.merge(parts[1] as LatencyCounts);
    const sorted = values.toSorted((a, b) => a - b);
    for (const percent of [50, 90, 99]) {
      const exact = (sorted[Math.ceil((sorted.length * percent) / 100) - 1] ?? 0) / 1_000;
      expect(Math.abs(all.percentile(percent) / exact - 1)).toBeLessThan(0.045);
    }
    expect(all.total).toBe(20_000);
    expect(new LatencyCounts().percentile(50)).toBe(0);
  });
});

it('the median', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
});

it.each([
  // Of tables: χ²(0.95, 2n + 2) / 2, rounded up to a tenth.
  [0, 3.0],
  [1, 4.8],
  [2, 6.3],
  [10, 17.0],
  [100, 118.1],
  [1_000, 1_053.6],
])('of %d events that were seen at most %f were to be expected', (count, most) => {
  expect(mostExpected(count)).toBeCloseTo(most, 0);
});
