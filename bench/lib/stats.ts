// Figures out of repeated measurements: the median, and the spread beside it.

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The median of the ratios round by round: what slows a whole round down, on a machine with other work, is in both
 * halves of its ratio and cancels out.
 */
export function medianRatio(values: readonly number[], base: readonly number[]): number {
  return median(values.map((value, round) => value / (base[round] ?? Number.NaN)));
}

export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** How many values it comes from. */
  readonly of: number;
  /** False: there are too few values for a confidence interval, and these are the smallest and the largest. */
  readonly isConfident: boolean;
}

const CONFIDENCE = 0.95;
/** The median lies outside all of n values as often as n coins show the same side: with five in 6 % of cases. */
const LEAST_VALUES = 6;

/**
 * The median with its confidence interval of at least 95 %, by order statistics: whatever the distribution is, the median
 * lies below the k-th of n values with the probability that fewer than k of n coins show heads.
 */
export function medianInterval(values: readonly number[]): Interval {
  if (values.length < LEAST_VALUES) return minToMax(values);
  const sorted = [...values].sort((a, b) => a - b);
  let outside = 0;
  let rank = 0;
  for (let k = 0, ways = 1; k < sorted.length >> 1; k++) {
    outside += (2 * ways) / 2 ** sorted.length;
    if (outside > 1 - CONFIDENCE) break;
    rank = k;
    ways = (ways * (sorted.length - k)) / (k + 1);
  }
  const [low, high] = [sorted[rank] ?? Number.NaN, sorted.at(-1 - rank) ?? Number.NaN];
  return { median: median(values), low, high, of: values.length, isConfident: true };
}

function minToMax(values: readonly number[]): Interval {
  const { median: middle, min: low, max: high } = spread(values);
  return { median: middle, low, high, of: values.length, isConfident: false };
}

/** `1.02 (95 %: 0.98 to 1.05)`, or `1.02 (min to max of 3: 1.00 to 1.05)`. */
export function presentInterval(
  { median: middle, low, high, of, isConfident }: Interval,
  show: (value: number) => string,
): string {
  return `${show(middle)} (${isConfident ? '95 %' : `min to max of ${of}`}: ${show(low)} to ${show(high)})`;
}

/** The smallest of the values, in ascending order, that so many percent of them do not exceed. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

const RESAMPLES = 10_000;

/**
 * The median with its 95 % confidence interval by bootstrap: the spread of the medians of as many values, drawn again and
 * again from these with replacement. Draws by a generator with a fixed seed: the same values give the same interval.
 * It is never wider than all values, so fewer than six allow none here, either.
 */
export function bootstrapInterval(values: readonly number[]): Interval {
  if (values.length < LEAST_VALUES) return minToMax(values);
  const random = mulberry32(1);
  const medians = Float64Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)] ?? Number.NaN)),
  ).sort();
  const tail = ((1 - CONFIDENCE) / 2) * 100;
  const [low, high] = [percentile(medians, tail), percentile(medians, 100 - tail)];
  return { median: median(values), low, high, of: values.length, isConfident: true };
}

/** Tommy Ettinger's mulberry32: 32 bits of state are plenty to draw from a handful of values. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `y = fixed + slope * x`. */
export interface Line {
  readonly fixed: number;
  readonly slope: number;
  /** How far a point is from the line at most, in parts of what the line says. */
  readonly deviation: number;
}

/** The line through some points with the least squares of their relative errors: points of every size count alike. */
export function lineThrough(points: readonly (readonly [x: number, y: number])[]): Line {
  // (fixed + slope * x) / y should be 1: the two normal equations, in u = 1 / y and v = x / y.
  const sum = (of: (u: number, v: number) => number): number =>
    points.reduce((total, [x, y]) => total + of(1 / y, x / y), 0);
  const [uu, uv, vv] = [sum((u) => u * u), sum((u, v) => u * v), sum((_, v) => v * v)];
  const [u, v] = [sum((it) => it), sum((_, it) => it)];
  const determinant = uu * vv - uv * uv;
  const fixed = (u * vv - v * uv) / determinant;
  const slope = (v * uu - u * uv) / determinant;
  const deviation = Math.max(...points.map(([x, y]) => Math.abs(y / (fixed + slope * x) - 1)));
  return { fixed, slope, deviation };
}
