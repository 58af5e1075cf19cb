// Confidence intervals of changes: by resampling the pieces of a run, and by comparing counts.

/** The 95 % confidence interval of a ratio. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 1_000;
const TAIL = 0.025;
const ONE_SIDED = 0.05;
/** The quantile of the normal distribution for 95 %. */
const Z = 1.96;
/** Number of events from which the logarithm of a ratio of counts is nearly normal. */
const MANY = 30;
/** Ticks drawn together, because neighbours are alike: a second of ticks of 250 ms. */
const BLOCK = 4;

/** mulberry32 with a fixed seed, so that the same file gives the same interval. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Draws as many items with replacement, in blocks of neighbours. */
function resample<T>(items: readonly T[], block: number, draw: () => number): T[] {
  const drawn: T[] = [];
  while (drawn.length < items.length) {
    const from = Math.floor(draw() * Math.max(1, items.length - block + 1));
    drawn.push(...items.slice(from, from + block));
  }
  return drawn.slice(0, items.length);
}

/**
 * The interval of the ratio of a figure between two runs: resamples both (moving blocks bootstrap), and lays the spread of the
 * ratios around the measured ratio. Undefined where a figure is 0, or from too few items.
 */
export function ratioInterval<T>(
  base: readonly T[],
  current: readonly T[],
  figure: (items: readonly T[]) => number,
  { block = BLOCK, measured }: { readonly block?: number; readonly measured?: number } = {},
): Interval | undefined {
  const center = Math.log(figure(current) / figure(base));
  if (Math.min(base.length, current.length) < block * 3 || !Number.isFinite(center)) return undefined;
  const draw = random(base.length * 8_191 + current.length);
  const spread: number[] = [];
  for (let i = 0; i < RESAMPLES; i++) {
    const ratio = figure(resample(current, block, draw)) / figure(resample(base, block, draw));
    if (ratio > 0 && Number.isFinite(ratio)) spread.push(Math.log(ratio) - center);
  }
  if (spread.length < RESAMPLES / 2) return undefined;
  spread.sort((a, b) => a - b);
  const at = measured === undefined ? center : Math.log(measured);
  const quantile = (part: number): number => spread[Math.floor(part * (spread.length - 1))] ?? 0;
  return { low: Math.exp(at + quantile(TAIL)), high: Math.exp(at + quantile(1 - TAIL)) };
}

/** Number of events, and of chances for one. */
export interface Rate {
  readonly count: number;
  readonly exposure: number;
}

/**
 * The interval of the ratio of two rates (Clopper and Pearson, of the share of all events that is in the current run): it
 * ends at infinity where the base has none.
 */
export function rateRatioInterval(base: Rate, current: Rate): Interval | undefined {
  if (base.count + current.count === 0 || base.exposure === 0 || current.exposure === 0) return undefined;
  const scale = base.exposure / current.exposure;
  if (base.count >= MANY && current.count >= MANY) {
    const middle = Math.log((current.count / base.count) * scale);
    const error = Z * Math.sqrt(1 / base.count + 1 / current.count);
    return { low: Math.exp(middle - error), high: Math.exp(middle + error) };
  }
  const all = base.count + current.count;
  const odds = (share: number): number => (share / (1 - share)) * scale;
  const low = current.count === 0 ? 0 : odds(solve((share) => 1 - binomialBelow(all, current.count - 1, share) - TAIL));
  const high =
    base.count === 0
      ? Number.POSITIVE_INFINITY
      : odds(solve((share) => TAIL - binomialBelow(all, current.count, share)));
  return { low, high };
}

/**
 * The upper bound, with 95 % confidence, of the expected number of events, by their count (Poisson; Garwood 1936). For none it
 * is 3, the rule of three. Rounded up to a tenth, as that rule is.
 */
export function mostExpected(count: number): number {
  const most = (count + 5 * Math.sqrt(count + 1) + 5) | 0;
  return Math.ceil(solve((mean) => ONE_SIDED - poissonUpTo(count, mean), most) * 10 - 1e-6) / 10;
}

/** The probability of at most `most` events where `mean` are expected. */
function poissonUpTo(most: number, mean: number): number {
  let logarithm = -mean;
  let sum = 0;
  for (let count = 0; count <= most; count++) {
    sum += Math.exp(logarithm);
    logarithm += Math.log(mean / (count + 1));
  }
  return sum;
}

/** Where a rising function of a probability, or of a number up to `highest`, is 0. */
function solve(rising: (share: number) => number, highest = 1): number {
  let [low, high] = [0, highest];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (rising(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The probability of at most `most` of `all`; adds up the shorter tail. */
function binomialBelow(all: number, most: number, share: number): number {
  if (most >= all) return 1;
  if (most > all / 2) return 1 - binomialBelow(all, all - most - 1, 1 - share);
  let logarithm = all * Math.log1p(-share);
  let sum = 0;
  for (let count = 0; count <= most; count++) {
    sum += Math.exp(logarithm);
    logarithm += Math.log((all - count) / (count + 1)) + Math.log(share / (1 - share));
  }
  return Math.min(1, sum);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}
