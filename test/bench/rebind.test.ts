// `npm run bench -- rebind`: that it runs, what it reports, and that a socket that stays loses nothing. Milliseconds are not
// judged here: they belong to a quiet machine.
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { benchReport, number, spread } from './run.js';

expectNoLeaks();
const programs = usePrograms();

const RUN_TIMEOUT = 90_000;
const hasTls = spawnSync('openssl', ['version']).status === 0;

interface Row {
  readonly kind: string;
  readonly way: string;
  readonly lost: number;
}

it.runIf(process.platform === 'linux')(
  'G1: --quick --json loses nothing where the descriptor is inherited, leaving no process and no file',
  async () => {
    const report = await benchReport<{ rows: Row[]; skipped: string[] }>(programs, 'rebind', RUN_TIMEOUT);
    expect(report.skipped).toEqual(hasTls ? [] : ['HTTPS']);
    const kinds = ['TCP', 'Unix path', ...(hasTls ? ['HTTPS'] : [])];
    expect(report.rows).toEqual(
      kinds.flatMap((kind) =>
        ['inherited', 'bound anew'].map((way) => ({
          kind,
          way,
          changes: 1,
          gapMs: spread,
          stopToListeningMs: spread,
          longestGapMs: spread,
          p99Ms: spread,
          answered: number,
          lost: way === 'inherited' ? 0 : number,
          lostBy: way === 'inherited' ? {} : expect.any(Object),
        })),
      ),
    );
  },
  RUN_TIMEOUT + 5_000,
);
