// Which processes were replaced by which, and by which trigger: from who answered when.
import { describe, expect, test } from 'vitest';
import { findSwitches, type Sighting } from '../../lib/hammer/identify.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const seen = (id: string, firstAt: number, lastAt: number): Sighting => ({ id, answers: 100, firstAt, lastAt });
const found = (sightings: readonly Sighting[], triggers: readonly number[]) =>
  findSwitches(sightings, triggers, 10_000);
const told = (...given: Parameters<typeof found>): string[] =>
  found(...given).map(({ from, to, triggeredAtMs }) => `${from} ${to} ${triggeredAtMs}`);

describe('the trigger of a switch', () => {
  test('is the oldest that no switch has answered yet: a late switch is late', () => {
    const late = found([seen('A', 1, 9_000), seen('B', 9_000, 10_000)], [1_000, 5_000]);
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

describe('several processes behind one address', () => {
  const four = [seen('A', 1, 9_900), seen('B', 2, 9_950), seen('C', 700, 9_990), seen('D', 2_500, 9_999)];

  test('replace nobody who still answers at the end, however late each of them is met', () => {
    expect(told(four, [])).toEqual([]);
  });

  test('are the first set, if they answer before the first trigger', () => {
    expect(told([...four, seen('E', 5_300, 9_999)], [5_000])).toEqual(['A E 5000']);
  });

  test('are replaced one by one, also without a trigger', () => {
    const rolled = [seen('A', 1, 4_000), seen('B', 2, 5_000), seen('C', 3_990, 9_990), seen('D', 5_010, 9_999)];
    expect(told(rolled, [])).toEqual(['A C null', 'B D null']);
  });
});
