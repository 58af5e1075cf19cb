// The options of a report, the same for `handover hammer --report` and `handover report`: for parsing, and for the help.
import { CommandError, EXIT } from '../terminal/exit-codes.js';

export const REPORT_OPTIONS = {
  baseline: {
    type: 'string',
    value: 'OLD.json',
    help: 'compare with a run saved before; exit 1 when a metric got significantly worse',
  },
  tolerance: {
    type: 'string',
    value: 'PERCENT',
    help: 'worse by so much is not yet worse: the whole confidence interval must lie beyond it (default 10)',
  },
  sla: {
    type: 'string',
    value: '99|99.9|99.99',
    help: 'one verdict: start <= 60/15/5 s, switch <= 10/3/1 s, losses within the budget; exit 1 NO-GO, 5 REVIEW',
  },
  timeline: {
    type: 'string',
    value: 'DIR',
    help: "draw the handovers recorded there by the server's option timeline on the same axis",
  },
} as const;

export const SLA_TARGETS = ['99', '99.9', '99.99'] as const;
export type SlaTarget = (typeof SLA_TARGETS)[number];

export interface ReportOptions {
  readonly baseline?: string;
  /** Fraction of 1. */
  readonly tolerance: number;
  readonly sla?: SlaTarget;
  readonly timeline?: string;
}

export type ReportValues = { readonly [Name in keyof typeof REPORT_OPTIONS]?: string };

const DEFAULT_TOLERANCE = 10;

/** @throws CommandError naming the expectation */
export function readReportOptions(values: ReportValues, command: string): ReportOptions {
  const { baseline, tolerance, sla, timeline } = values;
  const refuse = (message: string): CommandError =>
    new CommandError(EXIT.usage, `${message}; see handover ${command} --help`);
  if (sla !== undefined && !(SLA_TARGETS as readonly string[]).includes(sla)) {
    throw refuse(`--sla ${sla}: 99, 99.9 or 99.99`);
  }
  if (tolerance !== undefined && !/^\d+(\.\d+)?$/.test(tolerance)) {
    throw refuse(`--tolerance ${tolerance}: a number of percent`);
  }
  if (tolerance !== undefined && baseline === undefined) throw refuse('--tolerance needs --baseline');
  return {
    ...(baseline === undefined ? {} : { baseline }),
    tolerance: Number(tolerance ?? DEFAULT_TOLERANCE) / 100,
    ...(sla === undefined ? {} : { sla: sla as SlaTarget }),
    ...(timeline === undefined ? {} : { timeline }),
  };
}
