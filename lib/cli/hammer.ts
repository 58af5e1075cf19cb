// `handover hammer URL`: puts a load on any server and accounts for every request.

import type { Totals } from '../hammer/fleet.js';
import { brokenLimits } from '../hammer/limits.js';
import { type HammerOptions, type HammerValues, readOptions } from '../hammer/options.js';
import { detailsOf, type Finished, metricsOf, percentile, resultOf } from '../hammer/result.js';
import { run as runLoad } from '../hammer/run.js';
import { HAMMER_OPTIONS } from '../hammer/usage.js';
import { describeRun, LiveView } from '../hammer/view.js';
import { parseRun } from '../report/data.js';
import { REPORT_OPTIONS, type ReportValues, readReportOptions } from '../report/options.js';
import { exitCodeOf, linesOf, readYardsticks, reportOf, summaryOf, type Yardsticks } from '../report/report.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import type { Output } from '../terminal/output.js';
import type { Command, Context } from './command.js';
import { writePage } from './report.js';

export const command: Command = {
  args: 'URL',
  summary: 'put a load on any server, and account for every single request',
  details: 'With --report, --baseline or --sla its output and exit code are also those of handover report.',
  exitCodes:
    '0 done, 1 something was lost, a limit is broken, a trigger failed, NO-GO, or worse than the baseline, 2 wrong usage, 5 REVIEW',
  options: { ...HAMMER_OPTIONS, ...REPORT_OPTIONS },
  run,
};

/**
 * Runs the load. Exit code 1: a request was lost or none was sent, a limit is broken, or a trigger failed; with `--baseline` and
 * `--sla` also the exit codes of `handover report`.
 */
async function run({ options: values, args, output }: Context): Promise<ExitCode> {
  const options = readOptions(values as HammerValues, args);
  const wanted = readReport(values as HammerValues & ReportValues);
  const ticks: object[] = [];
  const finished = await measure(options, output, (tick) => {
    if (wanted !== undefined) ticks.push(tick);
  });
  const judge = (details: object): Judged => conclude(wanted, output, [...ticks, details, resultOf(finished)]);
  return account(options, finished, output, judge);
}

interface WantedReport {
  readonly path: string | undefined;
  readonly yardsticks: Yardsticks;
}

function readReport(values: HammerValues & ReportValues): WantedReport | undefined {
  const yardsticks = readYardsticks(readReportOptions(values, 'hammer'));
  const { report: path, baseline, sla, timeline } = values;
  if (timeline !== undefined && path === undefined && sla === undefined) {
    throw new CommandError(EXIT.usage, '--timeline needs --report or --sla; see handover hammer --help');
  }
  return [path, baseline, sla].every((value) => value === undefined) ? undefined : { path, yardsticks };
}

async function measure(options: HammerOptions, output: Output, keep: (tick: object) => void): Promise<Finished> {
  const { threads } = options.plan;
  const view = new LiveView(output);
  const tick = (now: number, since: Totals): void => {
    const told = tickOf(now, threads, since);
    keep(told);
    output.json(told);
    view.draw();
  };
  try {
    return await runLoad(options, { started: (fleet) => view.start(fleet), tick });
  } finally {
    view.end();
  }
}

function tickOf(now: number, threads: number, since: Totals): object {
  const { counts, lostBy, latency, maxLatencyMs, distribution, coveredMs, sightings } = since;
  return {
    type: 'tick',
    atMs: Math.round(now),
    coversMs: Math.round(coveredMs / threads),
    ok: counts.ok,
    lost: counts.lost,
    lostBy: Object.fromEntries(Object.entries(lostBy).filter(([, count]) => count > 0)),
    opened: counts.opened,
    closed: counts.closed,
    closedByServer: counts.closedByServer,
    reconnects: counts.reconnects,
    latencyMs: { p50: percentile(latency, 50), p99: percentile(latency, 99), max: maxLatencyMs },
    latencyCounts: distribution,
    answersBy: Object.fromEntries([...sightings.values()].map(({ id, answers }) => [id, answers])),
  };
}

interface Judged {
  readonly exitCode: ExitCode;
  readonly lines: readonly string[];
}

/** Makes the report, where an option asks for one. A failure is printed, so that the result of the run is printed, too. */
function conclude(wanted: WantedReport | undefined, output: Output, run: readonly object[]): Judged {
  if (wanted === undefined) return { exitCode: EXIT.ok, lines: [] };
  try {
    const { path, yardsticks } = wanted;
    const lines = run.map((line) => JSON.stringify(line));
    const report = reportOf(parseRun(lines, 'the run'), yardsticks);
    if (path !== undefined) writePage(report, path);
    output.json(summaryOf(report, path));
    return {
      exitCode: exitCodeOf(report),
      lines: [...linesOf(report), ...(path === undefined ? [] : [`report       ${path}`])],
    };
  } catch (error) {
    output.error((error as Error).message);
    return { exitCode: EXIT.failed, lines: [] };
  }
}

/** Prints the result, and returns the exit code. */
function account(
  { limits, allowsLost }: HammerOptions,
  finished: Finished,
  output: Output,
  judge: (details: object) => Judged,
): ExitCode {
  const broken = brokenLimits(limits, metricsOf(finished));
  const hasFailedTrigger = finished.triggers.some(({ error }) => error !== undefined);
  const details = { ...detailsOf(finished), broken };
  const { exitCode, lines } = judge(details);
  output.json(details);
  output.json(resultOf(finished));
  output.line(describeRun(finished));
  for (const limit of broken) output.line(`limit        ${limit}`);
  for (const line of lines) output.line(line);
  const { ok, lost, notSent } = finished.totals.counts;
  const hasNothing = ok + lost === 0;
  if (hasNothing) output.line('nothing      no request was answered or lost: this says nothing about the server');
  const hasLost = lost + notSent > 0 && !allowsLost;
  const hasFault = hasFailedTrigger || finished.ledgerError !== undefined;
  return broken.length > 0 || hasFault || hasLost || hasNothing ? EXIT.failed : exitCode;
}
