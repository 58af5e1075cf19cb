// `--baseline`: the changes against another run, their confidence, and whether they are for the worse.
import { LatencyCounts } from '../hammer/distribution.js';
import { lossOf, type Run, type Tick } from './data.js';
import { type Interval, median, type Rate, rateRatioInterval, ratioInterval } from './statistics.js';

export interface Compared {
  readonly metric: string;
  /** Unit after the values. */
  readonly unit: string;
  readonly baseline: number | null;
  readonly current: number | null;
  /** Current by baseline, and its confidence interval of 95 %; null where there is none. `high` null: without end. */
  readonly ratio: number | null;
  readonly interval: { readonly low: number; readonly high: number | null } | null;
  /** `unknown`: there is no interval to judge by. */
  readonly judgement: 'better' | 'same' | 'worse' | 'unknown';
  /** Reason of the judgement, where it is not the interval. */
  readonly note: string;
}

/** Most pieces of a run to resample. */
const PIECES = 120;
/** Fewest switches from which the next one can be predicted. */
const SWITCHES = 5;

/** A stretch of a run. */
interface Piece {
  ok: number;
  coversMs: number;
  readonly latency: LatencyCounts;
}

function piecesOf(ticks: readonly Tick[]): Piece[] {
  const size = Math.ceil(ticks.length / PIECES);
  const pieces: Piece[] = [];
  for (const [index, { ok, coversMs, latencyCounts }] of ticks.entries()) {
    if (index % size === 0) pieces.push({ ok: 0, coversMs: 0, latency: new LatencyCounts() });
    const piece = pieces.at(-1) as Piece;
    piece.ok += ok;
    piece.coversMs += coversMs;
    piece.latency.add(latencyCounts);
  }
  return pieces;
}

const throughput = (pieces: readonly Piece[]): number =>
  pieces.reduce((sum, { ok }) => sum + ok, 0) / pieces.reduce((sum, { coversMs }) => sum + coversMs, 0);

const percentileOf =
  (percent: number) =>
  (pieces: readonly Piece[]): number => {
    const all = new LatencyCounts();
    for (const { latency } of pieces) all.merge(latency);
    return all.percentile(percent);
  };

export function compare(base: Run, current: Run, tolerance: number): Compared[] {
  const pieces = [piecesOf(base.ticks), piecesOf(current.ticks)] as const;
  const both = (of: (run: Run) => number): readonly [number, number] => [of(base), of(current)];
  const resampled = (
    metric: string,
    unit: string,
    of: (run: Run) => number,
    figure: (p: readonly Piece[]) => number,
  ) => {
    const [was, is] = both(of);
    return judge(metric, unit, was, is, ratioInterval(...pieces, figure, { measured: is / was }), tolerance);
  };
  const counted = (metric: string, of: (run: Run) => number): Compared => {
    const rates = [base, current].map((run): Rate => ({ count: of(run), exposure: exposureOf(run, [base, current]) }));
    const [was, is] = rates as [Rate, Rate];
    const change = was.count === 0 ? null : is.count / is.exposure / (was.count / was.exposure);
    return judge(metric, '', was.count, is.count, rateRatioInterval(was, is), tolerance, change);
  };
  const bySwitch = (metric: string, of: (run: Run) => readonly number[]): Compared | undefined => {
    const [was, is] = [of(base), of(current)];
    if (was.length === 0 && is.length === 0) return undefined;
    const isEnough = Math.min(was.length, is.length) >= SWITCHES;
    const interval = isEnough ? ratioInterval(was, is, median, { block: 1 }) : undefined;
    const note = isEnough ? '' : `fewer than ${SWITCHES} switches in one of the runs`;
    const values = [was, is].map((all) => (all.length === 0 ? null : median(all))) as [number | null, number | null];
    return judge(metric, 'ms', ...values, interval, tolerance, undefined, note);
  };
  const once = (metric: string, of: (run: Run) => number): Compared => {
    const values = both(of);
    return judge(metric, 'ms', ...values, undefined, tolerance, undefined, 'one value a run: it has no spread');
  };
  return [
    resampled('requests', '/s', ({ details }) => details.requestsPerSecond, throughput),
    resampled('latency p50', 'ms', ({ result }) => result.latencyMs.p50, percentileOf(50)),
    resampled('latency p90', 'ms', ({ details }) => details.latencyMs.p90, percentileOf(90)),
    resampled('latency p99', 'ms', ({ result }) => result.latencyMs.p99, percentileOf(99)),
    once('latency max', ({ result }) => result.latencyMs.max),
    compareLost(base, current, tolerance),
    counted('closed by the server', ({ result }) => result.connections.closedByServer),
    counted('forced reconnects', ({ details }) => details.reconnectsForced),
    once('longest gap', ({ result }) => result.longestGapMs),
    bySwitch('trigger to first answer, median', ({ result }) =>
      result.switches.flatMap(({ triggerToFirstAnswerMs: time }) => (time === null ? [] : [time])),
    ),
    bySwitch('longest gap around a switch, median', ({ details }) => details.switchGapsMs),
  ].filter((one) => one !== undefined);
}

/** Number of chances for a close: connections close because of switches, where there are any. */
function exposureOf({ details, result }: Run, all: readonly Run[]): number {
  return all.every((run) => run.result.switches.length > 0) ? result.switches.length : details.elapsedMs;
}

/** Judges the first lost request as worse, whatever the statistics: the package promises to lose none. */
function compareLost(base: Run, current: Run, tolerance: number): Compared {
  const [was, is] = [base, current].map((run): Rate => {
    const { lost, all } = lossOf(run);
    return { count: lost, exposure: all };
  }) as [Rate, Rate];
  const change = was.count === 0 ? null : is.count / is.exposure / (was.count / was.exposure);
  const compared = judge('lost requests', '', was.count, is.count, rateRatioInterval(was, is), tolerance, change);
  if (was.count > 0 || is.count === 0) return compared;
  return { ...compared, judgement: 'worse', note: 'the baseline lost none' };
}

function judge(
  metric: string,
  unit: string,
  baseline: number | null,
  current: number | null,
  interval: Interval | undefined,
  tolerance: number,
  measured?: number | null,
  note = '',
): Compared {
  const isComparable = baseline !== null && current !== null && baseline > 0;
  const ratio = measured === undefined ? (isComparable ? current / baseline : null) : measured;
  const values = { metric, unit, baseline, current, ratio };
  if (baseline === 0 && current === 0) return { ...values, interval: null, judgement: 'same', note: '' };
  if (interval === undefined) {
    return { ...values, interval: null, judgement: 'unknown', note: note || 'too little was measured' };
  }
  // More requests per second are better; of everything else less is.
  const isMoreBetter = unit === '/s';
  const { low, high } = interval;
  const isWorse = isMoreBetter ? high < 1 - tolerance : low > 1 + tolerance;
  const isBetter = isMoreBetter ? low > 1 : high < 1;
  const isSlightlyWorse = !isWorse && (isMoreBetter ? high < 1 : low > 1);
  return {
    ...values,
    interval: { low, high: Number.isFinite(high) ? high : null },
    judgement: isWorse ? 'worse' : isBetter ? 'better' : 'same',
    note: isSlightlyWorse ? `worse, not surely by more than ${Math.round(tolerance * 100)} %` : note,
  };
}

/** Differences in the plans that make the two runs hard to compare. */
export function differencesOf(base: Run, current: Run): string[] {
  const told = ({ details: { loop, rate, mix } }: Run): readonly (readonly [string, string])[] => [
    ['loop', loop],
    ['rate', rate === null ? 'none' : String(rate)],
    ['clients', clientsOf(mix)],
  ];
  const [was, is] = [told(base), told(current)];
  return is.flatMap(([name, now], index) => {
    const before = was[index]?.[1];
    return before === now ? [] : [`${name}: ${before} in the baseline, ${now} now`];
  });
}

export function clientsOf(mix: Readonly<Record<string, number>>): string {
  const some = Object.entries(mix).filter(([, count]) => count > 0);
  return some.map(([kind, count]) => `${count} ${kind}`).join(', ');
}
