// `npm run bench -- workers`: that it runs, and what it reports. Figures are not judged here: they belong to a quiet machine.
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { benchReport, interval, number, spread } from './run.js';

expectNoLeaks();
const programs = usePrograms();

const RUN_TIMEOUT = 90_000;
const hasPm2 = existsSync(new URL('../../bench/peers/node_modules/pm2', import.meta.url));

interface Row {
  readonly system: string;
}

describe('bench workers', () => {
  it.runIf(process.platform === 'linux')(
    'G2, G3: --quick --json loses and closes nothing with `handover run`, and says what is skipped, leaving no process and no file',
    async () => {
      const report = await benchReport<{ rows: Row[]; skipped: string[] }>(programs, 'workers', RUN_TIMEOUT);
      expect(report).toMatchObject({ bench: 'workers', quick: true, rounds: 1 });
      expect(report.skipped.includes('pm2')).toBe(!hasPm2);
      expect(report.rows.map(({ system }) => system)).toEqual([
        'handover run',
        'node:cluster',
        ...(hasPm2 ? ['pm2'] : []),
      ]);
      for (const row of report.rows) {
        expect(row).toEqual({
          system: row.system,
          workers: 2,
          requestsPerSecond: spread,
          connectionsPerSecond: spread,
          handoverRatio: { requests: interval, connections: interval },
          reload: { answered: number, lost: number, closed: number },
        });
      }
      expect(report.rows[0]).toMatchObject({ reload: { lost: 0, closed: 0 } });
    },
    RUN_TIMEOUT + 5_000,
  );
});
