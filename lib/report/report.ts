// The report on a run: as a page, as JSON and as an exit code.
import { EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { type Compared, compare, differencesOf } from './comparison.js';
import { type Run, readRun } from './data.js';
import { figuresOf } from './figures.js';
import { html } from './html.js';
import type { ReportOptions } from './options.js';
import { assets, page } from './page.js';
import { type Recorded, readRecorded } from './recorded.js';
import { comparisonTable, headOf, lossTable, switchTable, verdictTable, witnesses } from './tables.js';
import { timelineSection } from './timeline-bars.js';
import { type Judged, judgeRun } from './verdict.js';

/** The baseline and the limits for a run: read before the run, so that a mistake is reported at once. */
export interface Yardsticks {
  readonly options: ReportOptions;
  readonly baseline: Run | undefined;
}

/** @throws CommandError the baseline is no run */
export function readYardsticks(options: ReportOptions): Yardsticks {
  return { options, baseline: options.baseline === undefined ? undefined : readRun(options.baseline) };
}

export interface Report {
  readonly run: Run;
  readonly options: ReportOptions;
  readonly recorded: readonly Recorded[];
  readonly judged: Judged | undefined;
  readonly compared: readonly Compared[];
  /** Differences that make the comparison doubtful. */
  readonly differences: readonly string[];
}

/** @throws CommandError the timelines cannot be read */
export function reportOf(run: Run, { options, baseline }: Yardsticks): Report {
  const recorded = options.timeline === undefined ? [] : readRecorded(options.timeline, run);
  return {
    run,
    options,
    recorded,
    judged: options.sla === undefined ? undefined : judgeRun(run, options.sla, recorded),
    compared: baseline === undefined ? [] : compare(baseline, run, options.tolerance),
    differences: baseline === undefined ? [] : differencesOf(baseline, run),
  };
}

/** 1: NO-GO, or something got significantly worse; else 5: REVIEW. */
export function exitCodeOf({ judged, compared }: Report): ExitCode {
  if (judged?.verdict === 'NO-GO' || compared.some(({ judgement }) => judgement === 'worse')) return EXIT.failed;
  return judged?.verdict === 'REVIEW' ? EXIT.review : EXIT.ok;
}

/** The report for programs. */
export function summaryOf(report: Report, path: string | undefined): object {
  const { judged, compared, differences } = report;
  return {
    type: 'report',
    ...(path === undefined ? {} : { path }),
    ...(judged === undefined ? {} : judged),
    ...(compared.length === 0 ? {} : { compared, differences }),
    exitCode: exitCodeOf(report),
  };
}

/** The report for people at a terminal. */
export function linesOf({ judged, compared, differences }: Report): string[] {
  const change = (ratio: number | null): string => (ratio === null ? '∞' : `${((ratio - 1) * 100).toFixed(1)} %`);
  return [
    ...(judged === undefined ? [] : [`verdict      ${judged.verdict} for ${judged.sla} %`]),
    ...(judged?.lines ?? []).map(({ name, verdict, reason }) => `  ${name.padEnd(9)}  ${verdict.padEnd(6)}  ${reason}`),
    ...differences.map((difference) => `not alike    ${difference}`),
    ...compared
      .filter(({ judgement }) => judgement === 'worse' || judgement === 'better')
      .map(({ metric, judgement, baseline, current, interval, note }) => {
        const spread = interval === null ? '' : `, ${change(interval.low)} to ${change(interval.high)}`;
        return `${judgement.padEnd(11)}  ${metric}: ${baseline} → ${current}${spread}${note === '' ? '' : `, ${note}`}`;
      }),
    ...(compared.length > 0 && compared.every(({ judgement }) => judgement !== 'worse')
      ? ['baseline     nothing is significantly worse']
      : []),
  ];
}

/** The whole page. */
export function pageOf(report: Report): string {
  const { run, options, recorded, judged, compared, differences } = report;
  const { scripts, style } = assets();
  const figures = figuresOf(run, recorded);
  const body = html`<main>
${headOf(run, judged, compared)}
${judged && verdictTable(judged)}
${compared.length > 0 && comparisonTable(compared, differences, options.baseline ?? '')}
${figures.body}
${switchTable(run)}
${lossTable(run)}
${options.timeline !== undefined && timelineSection(recorded, options.timeline)}
${witnesses(run)}
</main>`;
  return page({ title: `${run.details.url} – handover hammer`, style, body, data: figures.data, scripts });
}
