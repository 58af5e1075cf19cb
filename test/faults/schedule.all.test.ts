// G2, G5, G7, G8: the short schedule of the fault matrix, with real processes. The whole matrix: npm run test:faults.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { allCells, label } from './points.js';
import { randomCells, runAll, SHORT } from './schedule.js';
import { explain, failed, formatTable } from './table.js';

const PARALLEL = 4;

describe('the fault matrix', () => {
  expectNoLeaks();

  it(
    'G2, G5, G7, G8: whatever fails, one server serves on, and nothing is lost beyond what the killed owned',
    {
      timeout: 120_000,
    },
    async () => {
      const cells = allCells().filter((cell) => SHORT.includes(label(cell)));
      // A name in the schedule that is no cell would silently not be tried.
      expect(cells.map(label).sort()).toEqual([...SHORT].sort());
      const results = await runAll(
        cells.map((cell) => ({ cell })),
        PARALLEL,
      );
      process.stdout.write(`\n${formatTable(results)}\n`);
      expect(results.filter(failed).map(explain).join('\n')).toBe('');
    },
  );
});

describe('the schedule', () => {
  it('a seed gives the same random cells again', () => {
    expect(randomCells(7, 20)).toEqual(randomCells(7, 20));
    expect(randomCells(7, 20)).not.toEqual(randomCells(8, 20));
  });

  it('has every point of both sides, and every kind of fault at most of them', () => {
    const labels = allCells().map(label);
    expect(new Set(labels).size).toBe(labels.length);
    expect(labels.length).toBeGreaterThan(350);
  });
});
