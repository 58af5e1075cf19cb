// `handover report DATA.json`: makes a page of a run that `handover hammer --json` has printed, and judges the run.
import { writeFileSync } from 'node:fs';
import { readRun } from '../report/data.js';
import { REPORT_OPTIONS, type ReportValues, readReportOptions } from '../report/options.js';
import { exitCodeOf, linesOf, pageOf, type Report, readYardsticks, reportOf, summaryOf } from '../report/report.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import { type Command, type Context, JSON_OPTION } from './command.js';

export const command: Command = {
  args: 'DATA.json',
  summary: 'make a page of what handover hammer --json has printed',
  details: 'One file that needs nothing else; compared with another run, and judged, where that is asked for.',
  exitCodes:
    '0 done (GO), 1 NO-GO, or a metric significantly worse than the baseline, 2 wrong usage or malformed data, 5 REVIEW',
  options: {
    out: { type: 'string', value: 'FILE', help: 'where the page is written (default: DATA.html)' },
    ...REPORT_OPTIONS,
    json: JSON_OPTION,
  },
  run,
};

function run({ options, args, output }: Context): ExitCode {
  const [path, ...more] = args;
  if (path === undefined || more.length > 0) {
    throw new CommandError(EXIT.usage, 'one file that handover hammer --json has printed; see handover report --help');
  }
  const yardsticks = readYardsticks(readReportOptions(options as ReportValues, 'report'));
  const report = reportOf(readRun(path), yardsticks);
  const page = (options.out as string | undefined) ?? `${path.replace(/\.jsonl?$/, '')}.html`;
  writePage(report, page);
  for (const line of linesOf(report)) output.line(line);
  output.line(`report       ${page}`);
  output.json(summaryOf(report, page));
  return exitCodeOf(report);
}

/** @throws CommandError the page cannot be written */
export function writePage(report: Report, path: string): void {
  try {
    writeFileSync(path, pageOf(report));
  } catch (error) {
    throw new CommandError(EXIT.failed, `the report cannot be written: ${(error as Error).message}`);
  }
}
