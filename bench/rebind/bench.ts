// What a listening socket is worth that stays: two processes take turns behind one address, which both have inherited, or
// which each binds anew after the other has closed it. Over TCP, a Unix path and HTTPS, under a steady row of connections.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchOptions, Chart, Report } from '../lib/bench.js';
import { makeCertificate } from '../lib/certificate.js';
import { type Ending, withEnding } from '../lib/ending.js';
import { type Hammered, startHammer } from '../lib/hammer.js';
import { type Spread, spread } from '../lib/stats.js';
import { figure, presentSpread, table } from '../lib/table.js';
import { type Change, type Kind, Pair, type Way } from './pair.js';

const KINDS: readonly Kind[] = ['TCP', 'Unix path', 'HTTPS'];
const WAYS: readonly Way[] = ['inherited', 'bound anew'];
/** New connections a second: one at every tick of the client's timer; fewer where each is a handshake. */
const RATES = { TCP: 1_000, 'Unix path': 1_000, HTTPS: 200 };
const CHANGES = { quick: 1, full: 5 };
/** Between two changes the connections of the last one are done. */
const PAUSE = 100;

/** A pair, and what its turns gave. */
interface Entry {
  readonly pair: Pair;
  readonly changes: Change[];
  readonly loads: Hammered[];
}

interface Row {
  readonly kind: Kind;
  readonly way: Way;
  readonly changes: number;
  readonly gapMs: Spread;
  readonly stopToListeningMs: Spread;
  readonly longestGapMs: Spread;
  readonly p99Ms: Spread;
  readonly answered: number;
  readonly lost: number;
  readonly lostBy: Readonly<Record<string, number>>;
}

export const bench: Bench = { defaultRounds: 5, run };

function run(options: BenchOptions): Promise<Report> {
  return withEnding((ending) => measure(options, ending));
}

async function measure({ rounds, quick, progress }: BenchOptions, ending: Ending): Promise<Report> {
  const certificate = makeCertificate();
  const kinds = certificate ? KINDS : KINDS.filter((kind) => kind !== 'HTTPS');
  const folder = ending.folder();
  const entries: Entry[] = [];
  for (const kind of kinds) {
    for (const way of WAYS) {
      const path = join(folder, way.replace(' ', '-'));
      const pair = ending.own(new Pair({ kind, way, path, certificate }));
      entries.push({ pair, changes: [], loads: [] });
      await pair.start();
    }
  }
  for (let round = 0; round < rounds; round++) {
    progress(`rebind: round ${round + 1} of ${rounds}`);
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
      await turn(entry, quick ? CHANGES.quick : CHANGES.full);
    }
  }
  return report(entries.map(rowOf), certificate !== undefined);
}

async function turn({ pair, changes, loads }: Entry, count: number): Promise<void> {
  const [url, ...args] = pair.target;
  // Longer than any turn: it is told when it is enough.
  const load = ['--mix', 'new:100', '--rate', String(RATES[pair.kind]), '--duration', '1m'];
  await using hammering = startHammer(url, [...args, ...load]);
  await hammering.underWay;
  for (let left = count; left > 0; left--) {
    changes.push(await pair.change());
    await sleep(PAUSE);
  }
  hammering.enough();
  loads.push(await hammering.result);
}

function rowOf({ pair: { kind, way }, changes, loads }: Entry): Row {
  const sum = (of: (load: Hammered) => number): number => loads.reduce((total, load) => total + of(load), 0);
  const causes = Object.keys(loads[0]?.lostBy ?? {});
  const lostBy = causes.map((cause) => [cause, sum((load) => load.lostBy[cause] ?? 0)] as const);
  return {
    ...{ kind, way },
    changes: changes.length,
    gapMs: spread(changes.map(({ gapMs }) => gapMs)),
    stopToListeningMs: spread(changes.map(({ stopToListeningMs }) => stopToListeningMs)),
    longestGapMs: spread(loads.map(({ longestGapMs }) => longestGapMs)),
    p99Ms: spread(loads.map(({ latencyMs }) => latencyMs.p99)),
    answered: sum(({ requests }) => requests.ok),
    lost: sum(({ requests }) => requests.lost),
    lostBy: Object.fromEntries(lostBy.filter(([, count]) => count > 0)),
  };
}

function report(rows: readonly Row[], hasTls: boolean): Report {
  const header = [
    'descriptor',
    'changes',
    'answered',
    'lost',
    'last to first accept, ms',
    'stop to listening, ms',
    'longest gap of a turn, ms',
    'p99, ms',
    'lost by',
  ];
  const tables = [[header, ...rows.map(cells)]];
  const notes = [...NOTES, ...(hasTls ? [] : ['HTTPS: skipped, there is no openssl to make a certificate'])];
  const charts = [
    chart('last to first accept, ms', 'ms', rows, ({ gapMs }) => gapMs),
    chart('lost in a hundred changes', 'lost', rows, ({ lost, changes }) => spread([(100 * lost) / changes])),
  ];
  const expectations = rows
    .filter(({ way }) => way === 'inherited')
    .map(({ kind, lost, answered }) => ({
      name: `${kind}, descriptor inherited`,
      expectation: '0 lost',
      measured: `${lost} of ${figure(answered + lost)}`,
      reached: lost === 0,
    }));
  const text = [...tables.map(table), ...notes].join('\n\n');
  return { text, tables, notes, charts, expectations, rows, skipped: hasTls ? [] : ['HTTPS'] };
}

function cells({ kind, way, changes, answered, lost, lostBy, ...spreads }: Row): string[] {
  return [
    `${kind}, ${way}`,
    ...[changes, answered, lost].map((count) => count.toLocaleString('en-US')),
    ...[spreads.gapMs, spreads.stopToListeningMs, spreads.longestGapMs, spreads.p99Ms].map(presentSpread),
    Object.entries(lostBy)
      .map(([cause, count]) => `${cause} ${count}`)
      .join(', ') || '-',
  ];
}

function chart(title: string, unit: string, rows: readonly Row[], of: (row: Row) => Spread): Chart {
  return { title, unit, bars: rows.map((row) => ({ name: `${row.kind}, ${row.way}`, value: of(row) })) };
}

const NOTES = [
  `Both processes run already, so no start is in these figures; the new one is told by IPC when the old one has stopped. Under\n` +
    `a new connection for each request at a fixed rate (${KINDS.map((kind) => `${kind} ${figure(RATES[kind])}/s`).join(', ')}).`,
];
