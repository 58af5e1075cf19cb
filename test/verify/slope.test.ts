// The slope and its bounds: known answers, and how often the interval holds the truth.
import { describe, expect, it } from 'vitest';
import { medianOf, type Point, slopeOf } from '../../bench/verify/slope.js';

/** Mulberry32: the same numbers in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normal(uniform: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** A line with noise of standard deviation 1 that remembers: an AR(1) process. */
function series(uniform: () => number, count: number, slope: number, memory: number): Point[] {
  let noise = normal(uniform);
  return Array.from({ length: count }, (_, at): Point => {
    noise = memory * noise + Math.sqrt(1 - memory ** 2) * normal(uniform);
    return [at, slope * at + noise];
  });
}

const line = (values: readonly number[]): Point[] => values.map((value, at): Point => [at, value]);

describe('known answers', () => {
  it('a line: its slope, without a doubt', () => {
    expect(slopeOf(line([1, 3, 5, 7, 9, 11]))).toMatchObject({ perMinute: 2, low: 2, high: 2, samples: 6 });
  });

  it('a count that does not change: 0, and 0 for both bounds', () => {
    expect(slopeOf(line(new Array(50).fill(38)))).toEqual({
      perMinute: 0,
      low: 0,
      high: 0,
      samples: 50,
      effectiveSamples: 50,
    });
  });

  it('the 4th and the 18th of 21 slopes of 7 samples, as by hand', () => {
    // C = 1.96 * sqrt(7 * 6 * 19 / 18) = 13: from rank (21 - 13) / 2 = 4 to rank (21 + 13) / 2 + 1 = 18.
    const xs = [1, 2, 3, 4, 10, 12, 18];
    const ys = [9, 15, 19, 20, 45, 55, 78];
    const points = xs.map((x, at): Point => [x, ys[at] ?? 0]);
    const slopes = points
      .flatMap(([x, y], at) => points.slice(at + 1).map(([x2, y2]) => (y2 - y) / (x2 - x)))
      .sort((a, b) => a - b);
    expect(slopes).toHaveLength(21);
    expect(slopeOf(points)).toMatchObject({ perMinute: slopes[10], low: slopes[3], high: slopes[17] });
    expect(slopes[10]).toBe(4);
  });

  it('one wild sample moves nothing', () => {
    const points = line(Array.from({ length: 40 }, (_, at) => 2 * at));
    points[20] = [20, 1e6];
    expect(slopeOf(points)).toMatchObject({ perMinute: 2, low: 2, high: 2 });
  });

  it('a few counts that are one too high do not make descriptors grow; one leaked every ten samples does', () => {
    const restless = line(Array.from({ length: 60 }, (_, at) => (at % 13 === 0 ? 39 : 38)));
    expect(slopeOf(restless)).toMatchObject({ perMinute: 0, high: 0 });
    const leak = slopeOf(line(Array.from({ length: 60 }, (_, at) => 38 + Math.floor(at / 10))));
    expect(leak?.low).toBeGreaterThan(0);
    expect(leak?.perMinute).toBeCloseTo(0.1, 1);
  });

  it('one descriptor more from the middle on is not shown to be none', () => {
    expect(slopeOf(line(Array.from({ length: 60 }, (_, at) => (at < 30 ? 38 : 39))))?.high).toBeGreaterThan(0);
  });

  it('fewer than five samples: no answer', () => {
    expect(slopeOf([])).toBeUndefined();
    expect(slopeOf(line([1, 2, 3, 4]))).toBeUndefined();
    expect(slopeOf(line([1, 3, 2, 5, 4]))).toMatchObject({ low: -1, high: 3 });
  });

  it('thousands of samples are joined to medians of neighbours', () => {
    const slope = slopeOf(series(random(1), 5_000, 0.01, 0));
    expect(slope?.samples).toBe(5_000);
    expect(slope?.perMinute).toBeCloseTo(0.01, 3);
  });

  it('medians', () => {
    expect([medianOf([3, 1, 2]), medianOf([4, 1, 3, 2])]).toEqual([2, 2.5]);
  });
});

describe('how often the interval holds the truth, of 200 series', () => {
  // 95 % are promised, less some luck of 200 draws; a short series that remembers most of what it was is a harder case.
  it.each([
    ['independent samples', 0, 0.92],
    ['samples that remember half', 0.5, 0.88],
    ['samples that remember 80 %', 0.8, 0.8],
  ])('%s', (_, memory, least) => {
    const uniform = random(42);
    const truth = 0.05;
    let held = 0;
    for (let run = 0; run < 200; run++) {
      const slope = slopeOf(series(uniform, 60, truth, memory));
      if (slope !== undefined && slope.low <= truth && truth <= slope.high) held++;
    }
    expect(held / 200).toBeGreaterThanOrEqual(least);
  });

  it('without the correction, samples that remember 80 % would be believed far too much', () => {
    const uniform = random(42);
    const slopes = Array.from({ length: 50 }, () => slopeOf(series(uniform, 60, 0, 0.8)));
    expect(medianOf(slopes.map((slope) => slope?.effectiveSamples ?? 60))).toBeLessThan(30);
    const independent = Array.from({ length: 50 }, () => slopeOf(series(uniform, 60, 0, 0)));
    expect(medianOf(independent.map((slope) => slope?.effectiveSamples ?? 0))).toBeGreaterThan(50);
  });
});
