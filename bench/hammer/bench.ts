// What exact counting costs: the rate of `handover hammer` against one Node server, beside that of wrk, which only counts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Bench, BenchOptions, Report } from '../lib/bench.js';
import { atLeast } from '../lib/expectations.js';
import { hammer } from '../lib/hammer.js';
import { medianInterval, presentInterval, type Spread, spread } from '../lib/stats.js';
import { figure, table } from '../lib/table.js';
import { hasWrk, wrk } from '../lib/wrk.js';

const CONNECTIONS = 32;
/** Of the rate of wrk. */
const WANTED = 0.9;
/** wrk measures whole seconds. Long enough that the slow start of a client in JavaScript is a small part. */
const TURN_MS = { quick: 1_000, full: 4_000 };
const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));

export const bench: Bench = { defaultRounds: 7, run };

async function run({ rounds, quick, progress }: BenchOptions): Promise<Report> {
  const server = spawn(process.execPath, [SERVER], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ms = quick ? TURN_MS.quick : TURN_MS.full;
  const rates = { hammer: [] as number[], wrk: [] as number[] };
  try {
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const port = Number(line);
    const turns = {
      hammer: async () => rates.hammer.push(await ours(port, ms)),
      wrk: async () => rates.wrk.push(await wrk({ port, connections: CONNECTIONS, ms })),
    };
    const contestants = hasWrk() ? (['hammer', 'wrk'] as const) : (['hammer'] as const);
    for (let round = 0; round < rounds; round++) {
      progress(`hammer: round ${round + 1} of ${rounds}`);
      for (const name of round % 2 === 0 ? contestants : contestants.toReversed()) await turns[name]();
    }
  } finally {
    server.stdin.end();
    await once(server, 'exit');
  }
  return report(rates);
}

/** Requests a second. */
async function ours(port: number, ms: number): Promise<number> {
  const load = ['--connections', String(CONNECTIONS), '--duration', `${ms}ms`];
  const { requests, requestsPerSecond } = await hammer(`http://127.0.0.1:${port}/`, load);
  if (requests.lost > 0) throw new Error(`handover hammer lost ${requests.lost} requests`);
  return requestsPerSecond;
}

function report({ hammer: ours, wrk: theirs }: { readonly hammer: number[]; readonly wrk: number[] }): Report {
  const row = (client: string, values: readonly number[]) => ({ client, requestsPerSecond: spread(values) });
  const rows = [row('handover hammer', ours), ...(theirs.length > 0 ? [row('wrk', theirs)] : [])];
  const tables = [
    [
      ['client', 'requests/s', 'min', 'max'],
      ...rows.map(({ client, requestsPerSecond: rate }) => [client, ...cells(rate)]),
    ],
  ];
  const title = `requests/s against one Node server, ${CONNECTIONS} keep-alive connections`;
  const bars = rows.map(({ client, requestsPerSecond }) => ({ name: client, value: requestsPerSecond }));
  const shown = { tables, charts: [{ title, unit: 'requests/s', bars }] };
  const told = (notes: readonly string[]) => ({ notes, text: [...tables.map(table), ...notes].join('\n\n') });
  if (theirs.length === 0) {
    return { ...told(['wrk: skipped, it is not installed']), ...shown, rows, expectations: [], skipped: ['wrk'] };
  }
  const ratio = medianInterval(ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN)));
  const verdict = `hammer : wrk, round by round: ${presentInterval(ratio, figure)}; wanted: ${WANTED}`;
  const expectations = [atLeast('rate of handover hammer : rate of wrk', WANTED, ratio.median)];
  return { ...told([verdict]), ...shown, expectations, rows, figures: { ratio }, skipped: [] };
}

function cells({ median, min, max }: Spread): string[] {
  return [figure(median), figure(min), figure(max)];
}
