// Which processes were replaced by which, and by which trigger: from who answered when.
import { describe, expect, test } from 'vitest';
import { findSwitches, type Sighting } from '../../lib/cli/hammer/identify.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const seen = (id: string, firstAt: number, lastAt: number): Sighting => ({ id, answers: 100, firstAt, lastAt });
const told = (...given: Parameters<typeof findSwitches>): string[] =>
  findSwitches(...given).map(({ from, to, triggeredAtMs }) => `${from} ${to} ${triggeredAtMs}`);

describe('the trigger of a switch', () => {
  test('is the oldest that no switch has answered yet: a late switch is late', () => {
    const late = findSwitches([seen('A', 1, 9_000), seen('B', 9_000, 10_000)], [1_000, 5_000]);
    expect(late).toMatchObject([{ triggeredAtMs: 1_000, triggerToFirstAnswerMs: 8_000 }]);
  });

  test('is its own where each is answered', () => {
    const three = [seen('A', 1, 1_100), seen('B', 1_100, 5_100), seen('C', 5_100, 10_000)];
    expect(told(three, [1_000, 5_000])).toEqual(['A B 1000', 'B C 5000']);
  });

  test('is the last one where it replaces several processes', () => {
    const four = [seen('A', 1, 1_100), seen('B', 2, 1_200), seen('C', 1_100, 9_000), seen('D', 1_200, 9_000)];
    expect(told(four, [1_000])).toEqual(['A C 1000', 'B D 1000']);
  });

  test('is none before the first', () => {
    expect(told([seen('A', 1, 2_000), seen('B', 2_000, 9_000)], [])).toEqual(['A B null']);
  });
});
