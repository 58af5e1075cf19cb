// Who is woken by a new connection: one process, ten that share one listener, ten with SO_REUSEPORT. Latency, CPU and
// wake-ups a connection, at a rate that leaves them idle in between and at the most they can do, and who got how many.
import type { Bench, BenchOptions, Chart, Report } from '../lib/bench.js';
import { type Hammered, hammer } from '../lib/hammer.js';
import { endedCpuMs } from '../lib/processes.js';
import { type Spread, spread } from '../lib/stats.js';
import { figure, presentSpread, table } from '../lib/table.js';
import { type Contestant, type Count, MANY, type Name, startOne, startReusePort, startShared } from './contestants.js';

/** Far from what one process can do: each connection finds them asleep. The other load is as much as they answer. */
const PACED = 400;
const LOADS = {
  paced: ['--mix', 'new:64', '--rate', String(PACED)],
  full: ['--mix', 'new:64'],
} as const;
type LoadName = keyof typeof LOADS;
const LOAD_NAMES = ['paced', 'full'] as const;
const TURN_MS = { quick: 300, full: 2_000 };

/** What a turn gave; of the processes together where it is not said. */
interface Turn {
  readonly perSecond: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  readonly cpuUs: number;
  /** Of one processor, from its start to its end: where it is near 1, not the servers were measured but it. */
  readonly clientCpu: number;
  readonly wakeUps: number;
  readonly emptyTurns: number;
  /** Parts of all connections: of the process that had the most, and the fewest. */
  readonly most: number;
  readonly fewest: number;
}

interface Entry {
  readonly contestant: Contestant;
  readonly turns: Readonly<Record<LoadName, Turn[]>>;
}

interface Row {
  readonly system: Name;
  readonly processes: number;
  readonly load: LoadName;
  readonly connectionsPerSecond: Spread;
  readonly latencyMs: Readonly<Record<'p50' | 'p90' | 'p99' | 'max', Spread>>;
  readonly cpuUsPerConnection: Spread;
  readonly clientCpu: Spread;
  readonly wakeUpsPerConnection: Spread;
  readonly emptyTurnsPerConnection: Spread;
  readonly share: { readonly most: Spread; readonly fewest: Spread };
}

export const bench: Bench = { defaultRounds: 5, run };

async function run({ rounds, quick, progress }: BenchOptions): Promise<Report> {
  const contestants: Contestant[] = [];
  try {
    for (const start of [startOne, startShared, startReusePort]) contestants.push(await start());
    const entries = contestants.map((contestant) => ({ contestant, turns: { paced: [], full: [] } }) as Entry);
    const ms = quick ? TURN_MS.quick : TURN_MS.full;
    progress('herd: warming up');
    for (const { contestant } of entries) await turn(contestant, 'full', ms);
    for (let round = 0; round < rounds; round++) {
      progress(`herd: round ${round + 1} of ${rounds}`);
      for (const load of LOAD_NAMES) {
        for (const { contestant, turns } of round % 2 === 0 ? entries : entries.toReversed()) {
          turns[load].push(await turn(contestant, load, ms));
        }
      }
    }
    return report(entries);
  } finally {
    await Promise.all(contestants.map((contestant) => contestant.end()));
  }
}

async function turn(contestant: Contestant, load: LoadName, ms: number): Promise<Turn> {
  const before = await contestant.counts();
  const [cpuBefore, begun] = [endedCpuMs(), performance.now()];
  const found = await hammer(`http://127.0.0.1:${contestant.port}/`, [...LOADS[load], '--duration', `${ms}ms`]);
  const clientCpu = (endedCpuMs() - cpuBefore) / (performance.now() - begun);
  if (found.requests.lost > 0) throw new Error(`${contestant.name} lost ${found.requests.lost} requests`);
  return { ...turnOf(found, before, await contestant.counts()), clientCpu };
}

function turnOf(
  { latencyMs, requestsPerSecond }: Hammered,
  before: readonly Count[],
  after: readonly Count[],
): Omit<Turn, 'clientCpu'> {
  const each = (of: keyof Count): number[] => after.map((count, i) => count[of] - (before[i]?.[of] ?? 0));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const connections = each('connections');
  const all = sum(connections);
  const { p50, p90, p99, max } = latencyMs;
  return {
    perSecond: requestsPerSecond,
    ...{ p50, p90, p99, max },
    cpuUs: sum(each('cpuUs')) / all,
    wakeUps: sum(each('wakeUps')) / all,
    emptyTurns: sum(each('emptyTurns')) / all,
    most: Math.max(...connections) / all,
    fewest: Math.min(...connections) / all,
  };
}

function rowOf({ contestant, turns }: Entry, load: LoadName): Row {
  const each = (of: keyof Turn): Spread => spread(turns[load].map((it) => it[of]));
  return {
    system: contestant.name,
    processes: contestant.processes,
    load,
    connectionsPerSecond: each('perSecond'),
    latencyMs: { p50: each('p50'), p90: each('p90'), p99: each('p99'), max: each('max') },
    cpuUsPerConnection: each('cpuUs'),
    clientCpu: each('clientCpu'),
    wakeUpsPerConnection: each('wakeUps'),
    emptyTurnsPerConnection: each('emptyTurns'),
    share: { most: each('most'), fewest: each('fewest') },
  };
}

const TITLES = { paced: `${PACED} connections a second`, full: 'as many as they answer' };

function report(entries: readonly Entry[]): Report {
  const rows = LOAD_NAMES.flatMap((load) => entries.map((entry) => rowOf(entry, load)));
  const tables = LOAD_NAMES.map((load) => tableOf(load, rows));
  const chart = (load: LoadName, title: string, unit: string, of: (row: Row) => Spread): Chart => ({
    title: `${title}, ${TITLES[load]}`,
    unit,
    bars: rows.filter((row) => row.load === load).map((row) => ({ name: row.system, value: of(row) })),
  });
  const charts = [
    chart('paced', 'wake-ups per connection', 'wake-ups', (row) => row.wakeUpsPerConnection),
    chart('paced', 'us of CPU per connection', 'us', (row) => row.cpuUsPerConnection),
    chart('paced', 'p99, ms', 'ms', (row) => row.latencyMs.p99),
    chart('full', 'connections a second', '/s', (row) => row.connectionsPerSecond),
  ];
  const text = [...tables.map(table), ...NOTES].join('\n\n');
  return { text, tables, notes: NOTES, charts, rows, skipped: [] };
}

function tableOf(load: LoadName, rows: readonly Row[]): string[][] {
  const header = [
    'connections/s',
    'p50, ms',
    'p90',
    'p99',
    'max',
    'us of CPU each',
    'client, % of a CPU',
    'wake-ups each',
    'empty turns each',
  ];
  const lines = rows
    .filter((row) => row.load === load)
    .map((row) => [
      row.system,
      ...[row.connectionsPerSecond, row.latencyMs.p50, row.latencyMs.p90, row.latencyMs.p99].map(presentSpread),
      ...[row.latencyMs.max, row.cpuUsPerConnection].map(presentSpread),
      percent(row.clientCpu),
      ...[row.wakeUpsPerConnection, row.emptyTurnsPerConnection].map(presentSpread),
      `${percent(row.share.most)} / ${percent(row.share.fewest)}`,
    ]);
  return [[TITLES[load], ...header, 'most / fewest in a process'], ...lines];
}

function percent({ median }: Spread): string {
  return `${figure(100 * median)} %`;
}

const NOTES = [
  `A new connection for each request, closed after its answer: one process, ${MANY} that have inherited one listener, ${MANY} with a listener each.`,
  'Wake-ups: voluntary context switches of the main threads (/proc/PID/status). Empty turns: turns of the event loops in\n' +
    'which nothing happened to any connection, because another process had accepted it; where it had before epoll_wait(2)\n' +
    'looked again, the process went back to sleep in the kernel, and that is a wake-up without a turn.',
];
