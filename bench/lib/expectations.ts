// Bars that were set, against what was measured.
import type { Expectation } from './bench.js';
import type { Interval } from './stats.js';
import { figure } from './table.js';

export function atMost(name: string, limit: number, measured: number, unit = ''): Expectation {
  return {
    name,
    expectation: `at most ${limit}${unit}`,
    measured: figure(measured) + unit,
    reached: measured <= limit,
  };
}

export function atLeast(name: string, limit: number, measured: number, unit = ''): Expectation {
  return {
    name,
    expectation: `at least ${limit}${unit}`,
    measured: figure(measured) + unit,
    reached: measured >= limit,
  };
}

/** That the measurements do not speak against it: the upper end of the confidence interval is there. */
export function reaches(name: string, limit: number, { median, low, high }: Interval): Expectation {
  const measured = `${median.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
  return { name, expectation: `the interval reaches ${limit}`, measured, reached: high >= limit };
}
