// Bars that were set, against what was measured.
import type { Expectation } from './bench.js';
import { type Interval, presentInterval } from './stats.js';
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
export function reaches(name: string, limit: number, found: Interval): Expectation {
  const measured = presentInterval(found, (value) => value.toFixed(3));
  const reached = found.isConfident ? found.high >= limit : undefined;
  return { name, expectation: `the interval reaches ${limit}`, measured, reached };
}

export function verdictOf({ reached }: Expectation): string {
  if (reached === undefined) return 'not shown, too few rounds';
  return reached ? 'reached' : 'missed';
}
