// What the load client makes of the moments of its successes.
import { expect, test } from 'vitest';
import { Successes } from '../../lib/hammer/tally.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

test('the first success, and the longest time without one', () => {
  const successes = new Successes(Successes.create(1_000));
  expect(successes.first).toBeUndefined();
  expect(successes.longestGap(0, 1_000)).toBe(1_000);
  for (const at of [400, 450, 700]) successes.mark(at);
  expect(successes.first).toBeCloseTo(400);
  expect(successes.longestGap(0, 800)).toBe(400);
  expect(successes.longestGap(successes.first ?? 0, 800)).toBe(250);
});
