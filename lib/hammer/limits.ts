// `--fail-if`: parses the limits of a run, and checks them.

type Comparison = '>' | '>=' | '<' | '<=' | '=';

const COMPARISONS: Readonly<Record<Comparison, (a: number, b: number) => boolean>> = {
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '=': (a, b) => a === b,
};

export interface Limit {
  readonly metric: string;
  readonly comparison: Comparison;
  readonly value: number;
}

/** The metrics that can be limited; latencies and gaps are milliseconds. */
export const METRICS = [
  'p50',
  'p90',
  'p99',
  'p999',
  'max',
  'mean',
  'errorRate',
  'lost',
  'ok',
  'rps',
  'longestGap',
  'closedByServer',
  'reconnects',
  'switches',
  'refused',
  'resetBeforeWrite',
  'resetAfterWrite',
  'earlyClose',
  'short',
  'wrongBody',
  'unanswered',
  'status',
  'notSent',
  'executedTwice',
  'executedUnanswered',
  'gaps',
] as const;

export type Metrics = Readonly<Partial<Record<(typeof METRICS)[number], number>>>;

/** @throws Error naming the malformed limit */
export function parseLimits(text: string): Limit[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const [, metric = '', comparison, value] = /^\s*(\w+)\s*(>=|<=|>|<|=)\s*(\d+(?:\.\d+)?)\s*$/.exec(part) ?? [];
      if (comparison === undefined) throw new Error(`--fail-if: '${part.trim()}' is not like p99>800`);
      if (!(METRICS as readonly string[]).includes(metric)) {
        throw new Error(`--fail-if: there is no metric '${metric}'; ${METRICS.join(', ')}`);
      }
      return { metric, comparison: comparison as Comparison, value: Number(value) };
    });
}

/** The broken limits, each with the measured value. */
export function brokenLimits(limits: readonly Limit[], metrics: Metrics): string[] {
  return limits.flatMap(({ metric, comparison, value }) => {
    const measured = metrics[metric as keyof Metrics];
    if (measured === undefined) return [`${metric}${comparison}${value}: not measured in this run`];
    return COMPARISONS[comparison](measured, value) ? [`${metric}${comparison}${value}: ${measured}`] : [];
  });
}
