// `handover report DATA.json`: a page out of a run that `handover hammer --json` has printed, and what is to be said of it.
import { writeFileSync } from 'node:fs';
import { readRun } from '../report/data.js';
import { type ReportValues, readReportOptions } from '../report/options.js';
import { exitCodeOf, linesOf, pageOf, type Report, readYardsticks, reportOf, summaryOf } from '../report/report.js';
import { CommandError, EXIT, type ExitCode } from '../terminal/exit-codes.js';
import type { Context } from './commands.js';

export function run({ options, args, output }: Context): ExitCode {
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
