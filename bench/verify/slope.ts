// How fast something grows, with a confidence bound that a noisy and autocorrelated series deserves.
//
// The slope is Theil's and Sen's: the median of the slopes of all pairs of samples. Unlike least squares it does not follow
// the few samples a garbage collection or a busy moment has moved, and for counts that do not change it is exactly 0, bounds
// included, which "0 descriptors a minute" needs. Its bounds are the order statistics of the same slopes that Kendall's S
// allows: P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968), 1379-1389.
// Samples of one process follow each other (memory that was taken stays a while), which makes the variance of S larger than
// its formula says: it is multiplied by n/n* of K. H. Hamed and A. R. Rao, "A modified Mann-Kendall trend test for
// autocorrelated data", J. Hydrology 204 (1998), 182-196, from the autocorrelation of the ranks around the line. Only the
// first unbroken run of significant lags counts (as C. J. Geyer's initial sequences do, Statist. Sci. 7 (1992), 473-483),
// and never less than 1: the correction may widen the bounds and not narrow them. Tried on series that remember 0, 50, 80 and
// 95 % of what they were (AR(1), 200 each): the upper bound holds for 97, 97, 96 and 91 % of those with 240 samples, which 20
// minutes are, and for 98, 95, 93 and 83 % of those with 60.

/** One sample: minutes, and what was measured then. */
export type Point = readonly [minutes: number, value: number];

/** A slope a minute. The bounds are those of a confidence interval of 95 %; infinite where the samples do not allow one. */
export interface Slope {
  readonly perMinute: number;
  readonly low: number;
  readonly high: number;
  readonly samples: number;
  /** As many independent samples would say as much. */
  readonly effectiveSamples: number;
}

/** Two-sided 95 %: the upper bound alone holds with 97.5 %. */
const Z = 1.959964;
/** With four, even an order that never changes is found by chance in more than 5 % of cases. */
export const LEAST_SAMPLES = 5;
/** Pairs grow with the square: above this, samples are first joined to medians of neighbours. */
const MOST_POINTS = 1_000;

/** Undefined with fewer than five samples. */
export function slopeOf(samples: readonly Point[]): Slope | undefined {
  const points = join(samples);
  const slopes = pairSlopes(points);
  if (points.length < LEAST_SAMPLES || slopes.length === 0) return undefined;
  const perMinute = middle(slopes);
  const inflation = varianceInflation(residualsOf(points, perMinute));
  const deviation = Z * Math.sqrt(kendallVariance(points.map(([, value]) => value)) * inflation);
  const rank = (at: number): number | undefined => slopes[at - 1];
  return {
    perMinute,
    low: rank(Math.round((slopes.length - deviation) / 2)) ?? Number.NEGATIVE_INFINITY,
    high: rank(Math.round((slopes.length + deviation) / 2) + (deviation > 0 ? 1 : 0)) ?? Number.POSITIVE_INFINITY,
    samples: samples.length,
    effectiveSamples: points.length / inflation,
  };
}

/** The median of a sorted, non-empty list. */
function middle(sorted: ArrayLike<number>): number {
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}

export function medianOf(values: readonly number[]): number {
  return middle([...values].sort((a, b) => a - b));
}

function join(samples: readonly Point[]): readonly Point[] {
  const size = Math.ceil(samples.length / MOST_POINTS);
  if (size <= 1) return samples;
  const groups = Array.from({ length: Math.ceil(samples.length / size) }, (_, i) =>
    samples.slice(i * size, (i + 1) * size),
  );
  return groups.map((group) => [medianOf(group.map(([at]) => at)), medianOf(group.map(([, value]) => value))] as const);
}

/** Of all pairs, sorted. */
function pairSlopes(points: readonly Point[]): Float64Array {
  const slopes: number[] = [];
  for (const [i, [from, before]] of points.entries()) {
    for (let j = i + 1; j < points.length; j++) {
      const [to, after] = points[j] as Point;
      if (to !== from) slopes.push((after - before) / (to - from));
    }
  }
  return Float64Array.from(slopes).sort();
}

function residualsOf(points: readonly Point[], slope: number): number[] {
  return points.map(([at, value]) => value - slope * at);
}

/** Of Kendall's S under independence, less for ties. */
function kendallVariance(values: readonly number[]): number {
  const times = new Map<number, number>();
  for (const value of values) times.set(value, (times.get(value) ?? 0) + 1);
  const term = (n: number): number => n * (n - 1) * (2 * n + 5);
  return [...times.values()].reduce((sum, ties) => sum - term(ties), term(values.length)) / 18;
}

/** n/n* of Hamed and Rao. */
function varianceInflation(residuals: readonly number[]): number {
  const n = residuals.length;
  const ranks = ranksOf(residuals);
  let sum = 0;
  for (let lag = 1; lag < n - 2; lag++) {
    const correlation = autocorrelation(ranks, lag);
    // Anderson's limit for a series without autocorrelation, one-sided 95 %.
    if (correlation < (-1 + 1.645 * Math.sqrt(n - lag - 1)) / (n - lag)) break;
    sum += (n - lag) * (n - lag - 1) * (n - lag - 2) * correlation;
  }
  return 1 + (2 / (n * (n - 1) * (n - 2))) * sum || 1;
}

/** From 1 on; equal values share the mean of theirs. */
function ranksOf(values: readonly number[]): number[] {
  const order = values.map((_, index) => index).sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0));
  const ranks: number[] = new Array(values.length).fill(0);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to] ?? 0] === values[order[from] ?? 0]) to++;
    for (let at = from; at < to; at++) ranks[order[at] ?? 0] = (from + to + 1) / 2;
    from = to;
  }
  return ranks;
}

/** 0 for a series that does not vary. */
function autocorrelation(values: readonly number[], lag: number): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const around = values.map((value) => value - mean);
  const variance = around.reduce((sum, value) => sum + value * value, 0);
  if (variance === 0) return 0;
  let covariance = 0;
  for (let i = lag; i < around.length; i++) covariance += (around[i] ?? 0) * (around[i - lag] ?? 0);
  return covariance / variance;
}
