// The ticks of a run as columns for charts and tables: as many as a screen can show.
import { LatencyCounts } from '../hammer/distribution.js';
import { LOSS_KINDS } from '../hammer/outcome.js';
import type { Run, Tick } from './data.js';

/** No screen shows more points. */
export const MOST_POINTS = 600;
/** Limit on series: with more processes, every so manieth shares one. */
export const MOST_PROCESSES = 12;
export const COLOURS = 8;

export interface Column {
  readonly label: string;
  readonly color: number;
  readonly values: readonly (number | null)[];
}

export interface Columns {
  /** Seconds from the start of the run to the start of each stretch, and to the end of the last one. */
  readonly x: readonly number[];
  /** Ticks in each stretch. */
  readonly ticksEach: number;
  readonly throughput: readonly Column[];
  readonly latency: readonly Column[];
  readonly failures: readonly Column[];
  readonly processes: readonly Column[];
  readonly open: readonly Column[];
  readonly connections: readonly Column[];
}

type Merged = Omit<Tick, 'atMs' | 'latencyMs' | 'latencyCounts'> & {
  readonly maxMs: number;
  readonly latency: LatencyCounts;
};

/** A last tick up to this length joins the one before: its rate would be a matter of chance. */
const SHORT_MS = 150;

export function columnsOf(run: Run, mostPoints: number = MOST_POINTS): Columns {
  const ticks = run.ticks.filter(({ coversMs }, index) => coversMs > 0 || index === run.ticks.length - 1);
  const ticksEach = Math.max(1, Math.ceil(ticks.length / mostPoints));
  const groups: Tick[][] = [];
  for (const [index, tick] of ticks.entries()) {
    const isRest = index === ticks.length - 1 && tick.coversMs < SHORT_MS && groups.length > 0;
    if (index % ticksEach === 0 && !isRest) groups.push([]);
    groups.at(-1)?.push(tick);
  }
  const merged = groups.map(merge);
  const rate = (of: (one: Merged) => number): (number | null)[] =>
    closed(merged.map((one) => (one.coversMs === 0 ? null : round((of(one) / one.coversMs) * 1_000))));
  const line = (label: string, color: number, values: readonly (number | null)[]): Column => ({ label, color, values });
  const latency = (of: (one: Merged) => number): (number | null)[] =>
    closed(merged.map((one) => (one.ok === 0 ? null : round(of(one)))));
  return {
    x: startsOf(merged),
    ticksEach,
    throughput: [
      line(
        'answered',
        1,
        rate(({ ok }) => ok),
      ),
      line(
        'lost',
        6,
        rate(({ lost }) => lost),
      ),
    ],
    latency: [
      ...[50, 90, 99].map((percent, index) => {
        const values = latency((one) => Math.min(one.maxMs, one.latency.percentile(percent)));
        return line(`p${percent}`, [3, 1, 2][index] ?? 1, values);
      }),
      line(
        'max',
        7,
        latency(({ maxMs }) => maxMs),
      ),
    ],
    failures: (Object.keys(LOSS_KINDS) as string[]).flatMap((kind, index) => {
      const values = merged.map(({ lostBy }) => lostBy[kind] ?? 0);
      return values.some((value) => value > 0) ? [line(kind, (index % COLOURS) + 1, closed(values))] : [];
    }),
    processes: processColumns(run, rate),
    open: [line('open', 1, closed(openOf(merged)))],
    connections: [
      line(
        'opened',
        1,
        rate(({ opened }) => opened),
      ),
      line(
        'closed by the server',
        6,
        rate(({ closedByServer }) => closedByServer),
      ),
      line(
        'forced reconnects',
        4,
        rate(({ reconnects }) => reconnects),
      ),
    ],
  };
}

/** The answer rate of each process as a series, in the order of their first answers. */
function processColumns({ details }: Run, rate: (of: (one: Merged) => number) => (number | null)[]): Column[] {
  const ids = processesOf(details.identities);
  const answersOf =
    (some: readonly string[]) =>
    ({ answersBy }: Merged): number =>
      some.reduce((sum, id) => sum + (answersBy[id] ?? 0), 0);
  if (ids.length <= MOST_PROCESSES) {
    return ids.map((id, index) => ({ label: id, color: (index % COLOURS) + 1, values: rate(answersOf([id])) }));
  }
  return Array.from({ length: COLOURS }, (_, color) => {
    const some = ids.filter((_, index) => index % COLOURS === color);
    return { label: `process ${color + 1}, ${color + 1 + COLOURS} …`, color: color + 1, values: rate(answersOf(some)) };
  });
}

/** The processes in the order of their first answers. */
export function processesOf(identities: Run['details']['identities']): string[] {
  return [...identities].sort((a, b) => a.firstAt - b.firstAt).map(({ id }) => id);
}

function merge(ticks: readonly Tick[]): Merged {
  const latency = new LatencyCounts();
  for (const { latencyCounts } of ticks) latency.add(latencyCounts);
  const sum = (of: (tick: Tick) => number): number => ticks.reduce((all, tick) => all + of(tick), 0);
  return {
    coversMs: sum(({ coversMs }) => coversMs),
    ok: sum(({ ok }) => ok),
    lost: sum(({ lost }) => lost),
    lostBy: added(ticks.map(({ lostBy }) => lostBy)),
    opened: sum(({ opened }) => opened),
    closed: sum(({ closed }) => closed),
    closedByServer: sum(({ closedByServer }) => closedByServer),
    reconnects: sum(({ reconnects }) => reconnects),
    answersBy: added(ticks.map(({ answersBy }) => answersBy)),
    maxMs: Math.max(0, ...ticks.map(({ latencyMs }) => latencyMs.max)),
    latency,
  };
}

function added(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const some of counts) for (const [name, count] of Object.entries(some)) all[name] = (all[name] ?? 0) + count;
  return all;
}

function startsOf(merged: readonly Merged[]): number[] {
  let start = 0;
  const starts = merged.map(({ coversMs }) => {
    const at = start;
    start += coversMs;
    return at;
  });
  return [...starts, start].map((ms) => Math.round(ms) / 1_000);
}

function openOf(merged: readonly Merged[]): number[] {
  let open = 0;
  return merged.map(({ opened, closed: ended }) => {
    open += opened - ended;
    return open;
  });
}

/** Repeats the last value at the end of the run, because a value counts until the next point. */
function closed(values: readonly (number | null)[]): (number | null)[] {
  return [...values, values.at(-1) ?? null];
}

/** Rounds to three digits: more would be noise. */
function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
