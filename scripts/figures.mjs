// The section "Figures" of docs/benchmarks.md from what `npm run bench` wrote, on stdout:
//   node scripts/figures.mjs bench/results/<date>.json
import { readFileSync } from 'node:fs';
import process from 'node:process';

const [, , file = 'bench/results/<date>.json'] = process.argv;
const run = JSON.parse(readFileSync(file, 'utf8'));

/** @throws Error it failed, or was not asked for */
function bench(name) {
  const found = run.benches.find((each) => each.name === name);
  if (found?.rows === undefined) throw new Error(`${file} has no figures of ${name}: npm run bench, all of them`);
  return found;
}

/** Three digits, as the benchmarks print them. */
function figure(value) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const spread = ({ median, min, max }) => `${figure(median)} (${figure(min)} to ${figure(max)})`;
const interval = ({ median, low, high, isConfident, of }) =>
  `${figure(median)} (${isConfident ? '95 %' : `min to max of ${of}`}: ${figure(low)} to ${figure(high)})`;
const count = (value) => Math.round(value).toLocaleString('en-US');

function table(header, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(header), `|${'---|'.repeat(header.length)}`, ...rows.map(line)].join('\n');
}

function migrate() {
  const { rows, linear, firstRequest, throughputRatio } = bench('migrate');
  const header = [
    'connections',
    'COMMIT to settled',
    'OFFER to GO',
    'reconnect, TCP',
    'reconnect, TLS',
    'longest delay in the successor',
  ];
  const cells = rows.map((row) => [
    count(row.connections),
    spread(row.usPerConnection),
    figure(row.transferUsPerConnection.median),
    figure(row.reconnectTcpUs),
    row.reconnectTlsUs === null ? '-' : count(row.reconnectTlsUs),
    `${figure(row.loopDelayMaxMs)} ms`,
  ]);
  const text = `On a line through the sizes, COMMIT to settled is ${figure(linear.fixedMs)} ms, which few connections share, and
${figure(linear.usPerConnection)} us for each. The first request on a moved connection took ${figure(firstRequest.extraUs.median)} us more than on another one
(${figure(firstRequest.extraUs.low)} to ${figure(firstRequest.extraUs.high)}); requests a second with \`handover.listen\` are ${interval(throughputRatio)} times
those with plain \`server.listen\`.`;
  return `${table(header, cells)}\n\n${text}`;
}

const availability = (share) => (share === 1 ? '100 %' : `${(share * 100).toFixed(7)} %`);

function switches() {
  const header = [
    'ten switches each',
    'lost',
    'closed',
    'availability',
    'first answer of the new, ms',
    'old gone, ms',
    'longest gap, ms',
    'p99 inside / outside, ms',
  ];
  const cells = bench('switch').rows.map((row) => [
    row.system,
    count(row.lost),
    count(row.closed),
    availability(row.restarts30Days.availability),
    spread(row.triggerToAnswerMs),
    row.triggerToGoneMs === undefined ? 'the process stays' : spread(row.triggerToGoneMs),
    figure(row.longestGapMs.median),
    `${figure(row.insideMs.p99.median)} / ${figure(row.outsideMs.p99.median)}`,
  ]);
  return table(header, cells);
}

function herd() {
  const header = [
    '400 connections a second',
    'p50 / p99, ms',
    'us of CPU each',
    'wake-ups each',
    'most / fewest of a process',
  ];
  const rows = bench('herd').rows.filter(({ load }) => load === 'paced');
  const percent = (share) => `${figure(share * 100)} %`;
  const cells = rows.map((row) => [
    row.system,
    `${figure(row.latencyMs.p50.median)} / ${figure(row.latencyMs.p99.median)}`,
    spread(row.cpuUsPerConnection),
    spread(row.wakeUpsPerConnection),
    `${percent(row.share.most.median)} / ${percent(row.share.fewest.median)}`,
  ]);
  return table(header, cells);
}

function rebind() {
  const header = ['descriptor', 'changes', 'lost', 'answered', 'last to first accept, ms'];
  const cells = bench('rebind').rows.map((row) => [
    `${row.kind}, ${row.way}`,
    row.changes,
    row.lost,
    count(row.answered),
    spread(row.gapMs),
  ]);
  return table(header, cells);
}

function workers() {
  const header = ['two workers', 'requests/s', 'handover : it', 'new connections/s', 'handover : it', 'lost', 'closed'];
  const cells = bench('workers').rows.map((row, i) => [
    row.system,
    count(row.requestsPerSecond.median),
    i === 0 ? '' : interval(row.handoverRatio.requests),
    count(row.connectionsPerSecond.median),
    i === 0 ? '' : interval(row.handoverRatio.connections),
    row.reload.lost,
    row.reload.closed,
  ]);
  return table(header, cells);
}

function bars() {
  const verdict = (reached) => (reached === undefined ? 'not shown' : reached ? 'reached' : '**missed**');
  const cells = run.benches.flatMap(({ name, expectations = [] }) =>
    expectations.map((bar) => [`\`${name}\`: ${bar.name}`, bar.expectation, bar.measured, verdict(bar.reached)]),
  );
  return table(['bar', 'set', 'measured', ''], cells);
}

const { ratio } = bench('hammer');
process.stdout.write(`## Figures

From one \`npm run bench\` on a quiet machine: ${run.date.slice(0, 10)}, ${run.kernel} (virtual machine, ${run.cpus} CPUs), Node ${run.node}, commit
${run.commit}, ${Math.round(run.elapsedMs / 60_000)} minutes for all. Medians of the rounds, with the least and the most; compare ratios, not
milliseconds of two machines. [\`bench/README.md\`](../bench/README.md) says what each measures, and where the time of a missed bar
goes; \`node scripts/figures.mjs\` writes this section.

**A switch**, the same app under 1,000 requests a second that come at fixed times; *availability* is what 247 such switches in 30
days leave, *inside* from the trigger until the old process is gone and 250 ms more:

${switches()}

**Migrating connections**: idle keep-alive connections of other processes go from a server to its successor; microseconds each,
beside what the same clients pay to connect anew (TLS: a whole handshake, P-256):

${migrate()}

**Workers**: the same app under \`handover run\`, \`node:cluster\` and pm2 in cluster mode; *lost* and *closed* while all workers are
replaced three times under load:

${workers()}

**A listener that stays** (\`rebind\`), five changes a round of two processes that run already, under a steady load:

${rebind()}

**Who is woken** (\`herd\`) by a new connection, ten processes beside one:

${herd()}

\`handover hammer\` reached ${interval(ratio)} of the rate of wrk, which only counts.

All bars that were set, and what this run says of them:

${bars()}
`);
