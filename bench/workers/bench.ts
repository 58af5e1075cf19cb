// Several workers behind one port: `handover run`, node:cluster, and pm2 in cluster mode, with the same app. Requests on
// connections that are kept, requests on a new connection each, and what the clients notice of a replacement of all workers.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, BenchOptions, Chart, Expectation, Report } from '../lib/bench.js';
import { Ending, withEnding } from '../lib/ending.js';
import { reaches } from '../lib/expectations.js';
import { hammer, startHammer } from '../lib/hammer.js';
import { INSTALL_PEERS, peer } from '../lib/peers.js';
import { within } from '../lib/program.js';
import { type Interval, medianInterval, presentInterval, type Spread, spread } from '../lib/stats.js';
import { figure, presentSpread, table } from '../lib/table.js';
import { hasWrk, wrk } from '../lib/wrk.js';
import { body } from './app.mjs';
import {
  type Contestant,
  type Name,
  type Start,
  startCluster,
  startHandoverRun,
  startPm2,
  WORKERS,
} from './contestants.js';

type Kind = 'requests' | 'connections';

/** What a contestant did, round by round. */
interface Entry {
  readonly contestant: Contestant;
  readonly requests: number[];
  readonly connections: number[];
  /** Of all reloads together. */
  readonly reloads: { answered: number; lost: number; closed: number };
}

interface Row {
  readonly system: Name;
  readonly workers: number;
  readonly requestsPerSecond: Spread;
  readonly connectionsPerSecond: Spread;
  /** `handover run` to this one, round by round. */
  readonly handoverRatio: { readonly requests: Interval; readonly connections: Interval };
  readonly reload: { readonly answered: number; readonly lost: number; readonly closed: number };
}

const TURN_MS = { quick: 500, full: 2_000 };
const AROUND_RELOAD_MS = { quick: 200, full: 1_000 };
/** Reloads take seconds, and their counts need no median. */
const MAX_RELOADS = 3;
const START_TIMEOUT = 60_000;
const LOAD_CONNECTIONS = 64;
/** It is ended before. */
const LONGEST_RUN = '10m';

/** Most are between two requests most of the time: it is them that a server closes under their next request. */
const RELOAD_MIX = ['--mix', 'keep-alive:8,new:4,idle:40', '--idle', '50ms'];

const RIGHT = ['--status', '200', '--expect', `text:${body}`];

export const bench: Bench = { defaultRounds: 7, run };

function run(options: BenchOptions): Promise<Report> {
  return withEnding((ending) => measure(options, ending));
}

/** A peer that does not start is left out, with the reason. @throws Error this package does not start */
async function startAll(ending: Ending): Promise<{ readonly contestants: Contestant[]; readonly failures: string[] }> {
  const contestants = [await startHandoverRun(ending)];
  const failures: string[] = [];
  const peers: readonly (readonly [Name, Start])[] = [
    ['node:cluster', startCluster],
    ...(peer('pm2').isThere ? ([['pm2', startPm2]] as const) : []),
  ];
  for (const [name, start] of peers) {
    const own = ending.own(new Ending());
    try {
      contestants.push(await within(start(own), START_TIMEOUT, 'its start'));
    } catch (error) {
      failures.push(`${name}: out, ${(error as Error).message}`);
      await own.end().catch(() => {});
    }
  }
  return { contestants, failures };
}

async function measure({ rounds, quick, progress }: BenchOptions, ending: Ending): Promise<Report> {
  const { contestants, failures } = await startAll(ending);
  const entries = contestants.map((contestant) => ({
    contestant,
    requests: [],
    connections: [],
    reloads: { answered: 0, lost: 0, closed: 0 },
  }));
  const ms = quick ? TURN_MS.quick : TURN_MS.full;
  for (const entry of entries) await turn(entry, ms, { counts: false });
  for (let round = 0; round < rounds; round++) {
    progress(`workers: round ${round + 1} of ${rounds}`);
    for (const entry of round % 2 === 0 ? entries : entries.toReversed()) await turn(entry, ms, { counts: true });
  }
  for (let reload = 0; reload < Math.min(rounds, MAX_RELOADS); reload++) {
    for (const entry of entries) {
      progress(`workers: ${entry.contestant.name} replaces its workers`);
      await reloadUnderLoad(entry, quick ? AROUND_RELOAD_MS.quick : AROUND_RELOAD_MS.full);
    }
  }
  return report(entries, failures);
}

/** Of the kind a second. */
async function perSecond(kind: Kind, port: number, ms: number): Promise<number> {
  const isOneShot = kind === 'connections';
  if (hasWrk()) return wrk({ port, connections: LOAD_CONNECTIONS, ms, isOneShot });
  const mix = ['--mix', `${isOneShot ? 'new' : 'keep-alive'}:${LOAD_CONNECTIONS}`];
  const { requests, requestsPerSecond } = await hammer(urlOf(port), [...mix, ...RIGHT, '--duration', `${ms}ms`]);
  if (requests.lost > 0) throw new Error(`${requests.lost} requests failed`);
  return requestsPerSecond;
}

async function turn({ contestant, ...found }: Entry, ms: number, { counts }: { counts: boolean }): Promise<void> {
  const kinds: readonly Kind[] = ['requests', 'connections'];
  for (const kind of kinds) {
    const rate = await perSecond(kind, contestant.port, ms);
    if (counts) found[kind].push(rate);
  }
}

/** Every answer is checked whole; what is lost and closed is counted by the clients. */
async function reloadUnderLoad({ contestant, reloads }: Entry, around: number): Promise<void> {
  const load = [...RELOAD_MIX, ...RIGHT, '--duration', LONGEST_RUN];
  await using hammering = startHammer(urlOf(contestant.port), load);
  await hammering.underWay;
  await sleep(around);
  await contestant.reload();
  await sleep(around);
  hammering.enough();
  const { requests, connections } = await hammering.result;
  reloads.answered += requests.ok;
  reloads.lost += requests.lost;
  reloads.closed += connections.closedByServer;
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}/`;
}

function report(entries: readonly Entry[], failures: readonly string[]): Report {
  const ours = entries.find(({ contestant }) => contestant.name === 'handover run');
  if (!ours) throw new Error('handover run was not measured');
  const ratio = (kind: Kind, of: Entry): Interval =>
    medianInterval(ours[kind].map((value, round) => value / (of[kind][round] ?? Number.NaN)));
  const rows = entries.map((entry) => ({
    system: entry.contestant.name,
    workers: WORKERS,
    requestsPerSecond: spread(entry.requests),
    connectionsPerSecond: spread(entry.connections),
    handoverRatio: { requests: ratio('requests', entry), connections: ratio('connections', entry) },
    reload: entry.reloads,
  }));
  const skipped = [...(peer('pm2').isThere ? [] : ['pm2']), ...(hasWrk() ? [] : ['wrk'])];
  const notes = [
    ...failures,
    ...(peer('pm2').isThere ? [] : [`pm2: skipped, it is not installed: ${INSTALL_PEERS}`]),
    ...(hasWrk() ? [] : ['wrk: not there, the load comes from a client of this bench']),
  ];
  const reading = `${WORKERS} workers each. Lost requests and closed connections: of ${Math.min(ours.requests.length, MAX_RELOADS)} replacements of all workers together.`;
  const tables = [present(rows)];
  const told = [reading, ...notes];
  const chart = (unit: string, of: (row: Row) => Spread): Chart => ({
    title: `${unit}, ${WORKERS} workers`,
    unit,
    bars: rows.map((row) => ({ name: row.system, value: of(row) })),
  });
  const charts = [
    chart('requests/s', (row) => row.requestsPerSecond),
    chart('new connections/s', (row) => row.connectionsPerSecond),
  ];
  const text = [...tables.map(table), ...told].join('\n\n');
  return { text, tables, notes: told, charts, expectations: expectationsOf(rows), rows, skipped };
}

/** At least as fast as each of the others, and nobody notices a reload. */
function expectationsOf(rows: readonly Row[]): Expectation[] {
  const speed = rows
    .filter(({ system }) => system !== 'handover run')
    .flatMap(({ system, handoverRatio: { requests, connections } }) => [
      reaches(`handover run : ${system}, requests/s`, 1, requests),
      reaches(`handover run : ${system}, new connections/s`, 1, connections),
    ]);
  const { lost, closed } = rows.find(({ system }) => system === 'handover run')?.reload ?? {};
  const measured = `${lost} lost, ${closed} closed`;
  const name = 'handover run, all workers replaced under load';
  return [...speed, { name, expectation: '0 lost, 0 closed', measured, reached: lost === 0 && closed === 0 }];
}

function present(rows: readonly Row[]): string[][] {
  const header = [
    '',
    'requests/s',
    'handover : it',
    'new connections/s',
    'handover : it',
    'answered in reloads',
    'lost',
    'closed',
  ];
  const lines = rows.map(({ system, requestsPerSecond, connectionsPerSecond, handoverRatio, reload }) => [
    system,
    presentSpread(requestsPerSecond),
    system === 'handover run' ? '' : presentInterval(handoverRatio.requests, toHundredths),
    presentSpread(connectionsPerSecond),
    system === 'handover run' ? '' : presentInterval(handoverRatio.connections, toHundredths),
    figure(reload.answered),
    String(reload.lost),
    String(reload.closed),
  ]);
  return [header, ...lines];
}

function toHundredths(ratio: number): string {
  return ratio.toFixed(2);
}
