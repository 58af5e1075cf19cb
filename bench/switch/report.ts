// The figures of all turns as rows, tables and bars.
import type { Chart, Expectation, Report } from '../lib/bench.js';
import { type Spread, spread } from '../lib/stats.js';
import { figure, presentSpread as present, table } from '../lib/table.js';
import { answersAtOnce, nothingLost, presentBar, startsLikeBare, startTimes, staysFast } from './bars.js';
import type { Entrant } from './contestant.js';
import { RATE } from './load.js';
import type { Turn } from './turn.js';
import { type Availability, availabilityOf, FOLLOW_UP, type Latency, type LostBy, RESTARTS } from './window.js';

export interface Entry {
  readonly entrant: Entrant;
  readonly turns: Turn[];
  /** Why it takes no more turns. */
  readonly failure?: string;
}

interface LatencySpread {
  readonly p50: Spread;
  readonly p99: Spread;
  readonly max: Spread;
}

interface Row {
  readonly system: string;
  readonly switches: number;
  readonly answered: number;
  readonly lost: number;
  readonly lostBy: LostBy;
  readonly closed: number;
  readonly triggerToAnswerMs: Spread;
  /** Absent where no process ends. */
  readonly triggerToGoneMs?: Spread;
  readonly longestGapMs: Spread;
  readonly insideMs: LatencySpread;
  readonly outsideMs: LatencySpread;
  readonly restarts30Days: Availability;
}

/** Who took no turn, and why. */
export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

export function report(entries: readonly Entry[], leftOut: readonly LeftOut[]): Report {
  const bare = entries.find(({ entrant }) => entrant.replaces === 'none')?.turns ?? [];
  const others = entries.filter(({ entrant, turns }) => entrant.replaces !== 'none' && turns.length > 0);
  const failures = entries.flatMap(({ entrant, turns, failure }) =>
    failure === undefined ? [] : [{ system: entrant.name, afterSwitches: turns.length, failure }],
  );
  const rows = others.map(rowOf);
  const expectations = others.filter(({ entrant }) => entrant.isOurs).flatMap((entry) => barsOf(entry, bare));
  const bareStart = spread(startTimes(bare));
  const tables = [costs(rows), times(rows), latencies(rows)];
  const notes = [
    reading(bareStart),
    ...failures.map((each) => `${each.system}: out after ${each.afterSwitches} switches: ${each.failure}`),
    ...leftOut.map(({ name, why }) => `${name}: skipped, ${why}`),
  ];
  const text = [...tables.map(table), ...notes, expectations.map(presentBar).join('\n')].join('\n\n');
  const skipped = leftOut.map(({ name }) => name);
  const figures = { bareStartMs: bareStart, failures };
  return { text, tables, notes, charts: chartsOf(rows), expectations, rows, figures, skipped };
}

function chartsOf(rows: readonly Row[]): Chart[] {
  const chart = (title: string, unit: string, of: (row: Row) => Spread | undefined): Chart => ({
    title,
    unit,
    bars: rows.flatMap((row) => {
      const value = of(row);
      return value === undefined ? [] : [{ name: row.system, value }];
    }),
  });
  const each = (count: number): Spread => ({ median: count, min: count, max: count });
  return [
    chart('lost requests, a switch', 'lost', ({ lost, switches }) => each(lost / switches)),
    chart('keep-alive connections closed, a switch', 'closed', ({ closed, switches }) => each(closed / switches)),
    chart('trigger to the first answer of the new process, ms', 'ms', (row) => row.triggerToAnswerMs),
    chart('trigger to the old process gone, ms', 'ms', (row) => row.triggerToGoneMs),
    chart('longest gap without a right answer, ms', 'ms', (row) => row.longestGapMs),
    chart('p99 inside the switch, ms', 'ms', (row) => row.insideMs.p99),
  ];
}

function rowOf({ entrant, turns }: Entry): Row {
  const figures = turns.map((turn) => turn.figures);
  const sum = (of: 'answered' | 'lost' | 'closed'): number => figures.reduce((total, each) => total + each[of], 0);
  const latency = (of: (each: (typeof figures)[number]) => Latency): LatencySpread => ({
    p50: spread(figures.map((each) => of(each).p50)),
    p99: spread(figures.map((each) => of(each).p99)),
    max: spread(figures.map((each) => of(each).max)),
  });
  const lostBy: Record<string, number> = {};
  for (const each of figures) {
    for (const [kind, count] of Object.entries(each.lostBy)) lostBy[kind] = (lostBy[kind] ?? 0) + count;
  }
  const gone = figures.flatMap(({ triggerToGone }) => triggerToGone ?? []);
  const rate = figures.reduce((total, each) => total + each.rate, 0) / figures.length;
  return {
    system: entrant.name,
    switches: turns.length,
    answered: sum('answered'),
    lost: sum('lost'),
    lostBy,
    closed: sum('closed'),
    triggerToAnswerMs: spread(figures.map(({ triggerToAnswer }) => triggerToAnswer)),
    ...(gone.length === 0 ? {} : { triggerToGoneMs: spread(gone) }),
    longestGapMs: spread(figures.map(({ longestGap }) => longestGap)),
    insideMs: latency(({ inside }) => inside),
    outsideMs: latency(({ outside }) => outside),
    restarts30Days: availabilityOf(sum('lost') / turns.length, rate),
  };
}

function barsOf({ entrant: { name }, turns }: Entry, bare: readonly Turn[]): Expectation[] {
  const [first] = turns;
  return [
    nothingLost(name, turns),
    ...(first?.marks.spawn === undefined ? [] : [startsLikeBare(name, turns, bare)]),
    ...(first?.marks.commit === undefined ? [] : [answersAtOnce(name, turns), staysFast(name, turns)]),
  ];
}

function costs(rows: readonly Row[]): string[][] {
  const header = ['', 'answered', 'lost', 'closed', `lost in ${RESTARTS} in 30 days`, 'availability', 'lost by kind'];
  return [
    header,
    ...rows.map(({ system, answered, lost, closed, restarts30Days, lostBy }) => [
      system,
      figure(answered),
      String(lost),
      String(closed),
      figure(restarts30Days.lost),
      percent(restarts30Days.availability),
      Object.entries(lostBy)
        .map(([kind, count]) => `${kind} ${count}`)
        .join(', '),
    ]),
  ];
}

function times(rows: readonly Row[]): string[][] {
  const header = ['ms', 'trigger to first answer of the new', 'trigger to old gone', 'longest gap'];
  return [
    header,
    ...rows.map(({ system, triggerToAnswerMs, triggerToGoneMs, longestGapMs }) => [
      system,
      present(triggerToAnswerMs),
      triggerToGoneMs === undefined ? 'the process stays' : present(triggerToGoneMs),
      present(longestGapMs),
    ]),
  ];
}

function latencies(rows: readonly Row[]): string[][] {
  const header = ['latency inside / outside, ms', 'p50', 'p99', 'max'];
  return [
    header,
    ...rows.map(({ system, insideMs, outsideMs }) => [
      system,
      ...(['p50', 'p99', 'max'] as const).map((of) => `${present(insideMs[of])} / ${figure(outsideMs[of].median)}`),
    ]),
  ];
}

function reading(bareStart: Spread): string {
  return `${RATE} requests a second come at fixed times, whatever the server does; latency counts from then.
Inside the switch: from the trigger until the new process has answered and the old one is gone, whichever is later, and
${FOLLOW_UP} ms more; requests of which any part is within. Outside: the rest of the turn.
Availability: what ${RESTARTS} such switches in 30 days lose, of all requests that come in 30 days at this rate.
A bare cold start of the app, beside the same load: ${present(bareStart)} ms from spawn to accepting.`;
}

function percent(share: number): string {
  // One request lost in ten switches is in the eighth digit: it is not to be rounded away.
  return share === 1 ? '100 %' : `${(share * 100).toFixed(7)} %`;
}
