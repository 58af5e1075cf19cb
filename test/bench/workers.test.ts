// `npm run bench -- workers`: that it runs, and what it reports. Figures are not judged here: they belong to a quiet machine.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const programs = usePrograms();

const BENCH = new URL('../../bench/index.ts', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSX = import.meta.resolve('tsx');
const RUN_TIMEOUT = 90_000;
const hasPm2 = existsSync(new URL('../../bench/workers/pm2/node_modules/pm2', import.meta.url));
const number = expect.any(Number);
const spread = { median: number, min: number, max: number };
const interval = { median: number, low: number, high: number };

interface Row {
  readonly system: string;
}

describe('bench workers', () => {
  it.runIf(process.platform === 'linux')(
    'G2, G3: --quick --json loses and closes nothing with `handover run`, and says what is skipped, leaving no process and no file',
    async () => {
      const temporary = mkdtempSync(join(tmpdir(), 'handover-bench-test-'));
      onTestFinished(() => rmSync(temporary, { recursive: true }));
      const args = ['workers', '--quick', '--json', '--rounds', '1'];
      const program = programs.start(BENCH, {
        args,
        execArgv: ['--import', TSX],
        cwd: ROOT,
        env: { TMPDIR: temporary },
      });
      const { code } = await program.exit(RUN_TIMEOUT);
      await program.closed;
      expect(program.stderr).not.toContain('Error');
      expect(code).toBe(0);
      const report = JSON.parse(program.stdout.trimEnd().split('\n').at(-1) ?? '') as {
        rows: Row[];
        skipped: string[];
      };
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
      expect(readdirSync(temporary).filter((name) => name.startsWith('handover-'))).toEqual([]);
    },
    RUN_TIMEOUT + 5_000,
  );
});
