// What it costs to move live connections to the next process: idle keep-alive connections of client processes, from a
// server to its successor, in real handovers. Beside it: what the same clients would pay to reconnect, what the first
// request on a moved connection costs more than another one, and what the library costs a server that only serves.
import type { Bench, BenchOptions, Chart, Expectation, Report } from '../lib/bench.js';
import { makeCertificate } from '../lib/certificate.js';
import { atLeast, atMost, reaches } from '../lib/expectations.js';
import {
  type Interval,
  type Line,
  lineThrough,
  median,
  medianInterval,
  presentInterval,
  type Spread,
  spread,
} from '../lib/stats.js';
import { figure, presentSpread, table } from '../lib/table.js';
import { hasWrk } from '../lib/wrk.js';
import { Chain, Clients, type Handover, Plain } from './chain.js';
import { requestsPerSecond } from './throughput.js';

/** Connections held through the handovers of one chain of processes, and what each round gave. */
interface Entry {
  readonly chain: Chain;
  readonly clients: Clients;
  readonly handovers: Handover[];
  readonly reconnectTcp: number[];
  readonly reconnectTls: number[];
}

const SIZES = [100, 1_000, 10_000];
/** Handshakes a round: enough for a figure, and 10,000 of them would be most of the time. */
const MAX_HANDSHAKES = 1_000;
const PROBES = { quick: 10, full: 200 };
/** The chain whose connections are probed. */
const PROBED = 1_000;
const MIN_PAIRS = 10;
const LOAD_MS = { quick: 200, full: 2_000 };

export const bench: Bench = { defaultRounds: 6, run };

async function run(options: BenchOptions): Promise<Report> {
  const certificate = makeCertificate();
  const plain = new Plain(certificate?.key, certificate?.cert);
  const entries = SIZES.map((connections, i) => ({
    chain: new Chain(),
    clients: new Clients(connections, 2 + 10 * i),
    handovers: [],
    reconnectTcp: [],
    reconnectTls: [],
  }));
  const probes: { first: number; ordinary: number }[] = [];
  try {
    await plain.start();
    for (const { chain, clients } of entries) {
      options.progress(`migrate: connecting ${clients.connections} clients`);
      await chain.start();
      await clients.open(chain.port);
    }
    for (let round = 0; round < options.rounds; round++) {
      options.progress(`migrate: round ${round + 1} of ${options.rounds}`);
      for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
        await turn(entry, plain, options.quick);
        if (entry.clients.connections === PROBED) probes.push(await probe(entry, options.quick));
      }
    }
    for (const { clients, chain } of entries) {
      // Every connection is there, and was answered by the last process as by the first.
      await clients.ask();
      await clients.end();
      await chain.end();
    }
    const ratios = await throughput(plain, options);
    return report(entries, probes, ratios, certificate !== undefined);
  } finally {
    await Promise.all(entries.flatMap(({ chain, clients }) => [chain.end(), clients.end()]));
    await plain.end();
  }
}

/** One handover of connections that have all been used since the last one, and as many new connections. */
async function turn({ chain, clients, ...rounds }: Entry, plain: Plain, quick: boolean): Promise<void> {
  await clients.ask();
  rounds.handovers.push(await chain.handOver(clients.connections));
  const again = Math.min(clients.connections, quick ? 100 : MAX_HANDSHAKES);
  rounds.reconnectTcp.push(await clients.reconnect(plain.port, again, false));
  if (plain.tlsPort > 0) rounds.reconnectTls.push(await clients.reconnect(plain.tlsPort, again, true));
}

async function probe({ chain, clients }: Entry, quick: boolean): Promise<{ first: number; ordinary: number }> {
  const { first, ordinary } = await clients.probe(chain.port, quick ? PROBES.quick : PROBES.full);
  return { first: median(first), ordinary: median(ordinary) };
}

/** Pair by pair, each in turn first: what the library takes from a server that only serves. */
async function throughput(plain: Plain, { rounds, quick, progress }: BenchOptions): Promise<number[]> {
  const pairs = quick ? rounds : Math.max(MIN_PAIRS, rounds);
  const ms = quick ? LOAD_MS.quick : LOAD_MS.full;
  const chain = new Chain();
  const client = new Clients(1, 2);
  try {
    await chain.start();
    const perSecond = (port: number): Promise<number> => requestsPerSecond(port, ms, client);
    for (const { port } of [chain, plain]) await perSecond(port);
    const ratios: number[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      progress(`migrate: throughput, pair ${pair + 1} of ${pairs}`);
      const found = new Map<Chain | Plain, number>();
      for (const server of pair % 2 === 0 ? [chain, plain] : [plain, chain]) {
        found.set(server, await perSecond(server.port));
      }
      ratios.push((found.get(chain) ?? 0) / (found.get(plain) ?? 0));
    }
    return ratios;
  } finally {
    await client.end();
    await chain.end();
  }
}

interface Row {
  readonly connections: number;
  /** COMMIT to settled: the predecessor has none left, the successor has all. */
  readonly usPerConnection: Spread;
  /** First OFFER to last GO. */
  readonly transferUsPerConnection: Spread;
  /** The event loop of the successor, from COMMIT to RETIRE: the median round, and the worst. */
  readonly loopDelayMaxMs: number;
  readonly loopDelayWorstMs: number;
  readonly reconnectTcpUs: number;
  readonly reconnectTlsUs: number | null;
}

function rowOf({ clients: { connections }, handovers, reconnectTcp, reconnectTls }: Entry): Row {
  const each = (of: (handover: Handover) => number): Spread => spread(handovers.map((it) => of(it) / connections));
  const delays = handovers.map(({ longestDelayMs }) => longestDelayMs);
  return {
    connections,
    usPerConnection: each(({ totalUs }) => totalUs),
    transferUsPerConnection: each(({ transferUs }) => transferUs),
    loopDelayMaxMs: median(delays),
    loopDelayWorstMs: Math.max(...delays),
    reconnectTcpUs: median(reconnectTcp),
    reconnectTlsUs: reconnectTls.length > 0 ? median(reconnectTls) : null,
  };
}

function report(
  entries: readonly Entry[],
  probes: readonly { first: number; ordinary: number }[],
  ratios: readonly number[],
  hasTls: boolean,
): Report {
  const rows = entries.map(rowOf);
  const throughputRatio = medianInterval(ratios);
  const firstRequest = {
    parkedUs: median(probes.map(({ first }) => first)),
    ordinaryUs: median(probes.map(({ ordinary }) => ordinary)),
    extraUs: medianInterval(probes.map(({ first, ordinary }) => first - ordinary)),
  };
  const skipped = [...(hasTls ? [] : ['tls']), ...(hasWrk() ? [] : ['wrk'])];
  const notes = [
    ...(hasTls ? [] : ['tls: skipped, there is no openssl to make a certificate']),
    ...(hasWrk()
      ? []
      : ['wrk: not there, the load comes from a client of this bench, which is slower than the servers']),
  ];
  // Whatever their number is, the exchange of COMMIT comes first: it is what few connections share.
  const line = lineThrough(
    rows.map(({ connections, usPerConnection }) => [connections, connections * usPerConnection.median]),
  );
  const linear = { fixedMs: line.fixed / 1_000, usPerConnection: line.slope, deviation: line.deviation };
  const found = { linear, firstRequest, throughputRatio };
  const tables = [present(rows)];
  const told = [presentLine(line), presentFirst(firstRequest), presentRatio(throughputRatio, ratios.length), ...notes];
  const text = [...tables.map(table), ...told].join('\n\n');
  const shown = { tables, notes: told, charts: chartsOf(rows), expectations: expectationsOf(rows, found) };
  return { text, ...shown, rows, figures: found, skipped };
}

function chartsOf(rows: readonly Row[]): Chart[] {
  const exact = (value: number): Spread => ({ median: value, min: value, max: value });
  const bars = rows.flatMap(({ connections, usPerConnection, reconnectTcpUs, reconnectTlsUs }) => {
    const of = connections.toLocaleString('en-US');
    const tls = reconnectTlsUs === null ? [] : [{ name: `${of} reconnect, TLS`, value: exact(reconnectTlsUs) }];
    const tcp = { name: `${of} reconnect, TCP`, value: exact(reconnectTcpUs) };
    return [{ name: `${of} moved`, value: usPerConnection }, tcp, ...tls];
  });
  return [{ title: 'us per connection: moved, or made anew by its client', unit: 'us', bars }];
}

interface Found {
  readonly linear: { readonly deviation: number };
  readonly firstRequest: FirstRequest;
  readonly throughputRatio: Interval;
}

function expectationsOf(rows: readonly Row[], { linear, firstRequest, throughputRatio }: Found): Expectation[] {
  const bySize = rows.flatMap(({ connections, usPerConnection, loopDelayMaxMs, reconnectTlsUs }) => {
    const of = `${connections.toLocaleString('en-US')} connections`;
    const times = reconnectTlsUs === null ? [] : [reconnectTlsUs / usPerConnection.median];
    return [
      atMost(`COMMIT to settled, ${of}`, 40, usPerConnection.median, ' us each'),
      atMost(`longest delay in the successor, ${of}`, 20, loopDelayMaxMs, ' ms'),
      ...times.map((ratio) => atLeast(`reconnecting over TLS : moving, ${of}`, 10, ratio, ' x')),
    ];
  });
  return [
    ...bySize,
    atMost('distance of the sizes from one line', 20, 100 * linear.deviation, ' %'),
    atMost('first request on a moved connection, more than on another', 60, firstRequest.extraUs.median, ' us'),
    reaches('requests/s, handover.listen : server.listen', 0.98, throughputRatio),
  ];
}

function present(rows: readonly Row[]): string[][] {
  const header = [
    'us per connection',
    'COMMIT to settled',
    'OFFER to GO',
    'reconnect TCP',
    'reconnect TLS',
    'TLS : moved',
    'longest delay, ms',
    'worst',
  ];
  const lines = rows.map((row) => [
    row.connections.toLocaleString('en-US'),
    presentSpread(row.usPerConnection),
    presentSpread(row.transferUsPerConnection),
    figure(row.reconnectTcpUs),
    row.reconnectTlsUs === null ? '-' : figure(row.reconnectTlsUs),
    row.reconnectTlsUs === null ? '-' : figure(row.reconnectTlsUs / row.usPerConnection.median),
    figure(row.loopDelayMaxMs),
    figure(row.loopDelayWorstMs),
  ]);
  return [header, ...lines];
}

function presentLine({ fixed, slope, deviation }: Line): string {
  return (
    `COMMIT to settled is ${figure(fixed / 1_000)} ms and ${figure(slope)} us a connection; ` +
    `the rows are within ${Math.ceil(deviation * 100)} % of that`
  );
}

interface FirstRequest {
  readonly parkedUs: number;
  readonly ordinaryUs: number;
  readonly extraUs: Interval;
}

function presentFirst({ parkedUs, ordinaryUs, extraUs }: FirstRequest): string {
  return (
    `first request on a moved connection: ${figure(parkedUs)} us, on an ordinary one ${figure(ordinaryUs)} us: ` +
    `${presentInterval(extraUs, figure)} us more`
  );
}

function presentRatio(ratio: Interval, pairs: number): string {
  return (
    `requests per second with handover.listen : with server.listen, median of ${pairs} pairs: ` +
    presentInterval(ratio, (value) => value.toFixed(3))
  );
}
