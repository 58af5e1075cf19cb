// `npm run bench -- hammer`: that it runs, and what it reports. Figures are not judged here: they belong to a quiet machine.
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const programs = usePrograms();

const BENCH = new URL('../../bench/index.ts', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSX = import.meta.resolve('tsx');
const number = expect.any(Number);
const RUN_TIMEOUT = 60_000;

it(
  '--quick --json reports the rate of each client, and their ratio where wrk is installed',
  async () => {
    const args = ['hammer', '--quick', '--json', '--rounds', '1'];
    const program = programs.start(BENCH, { args, execArgv: ['--import', TSX], cwd: ROOT });
    const { code } = await program.exit(RUN_TIMEOUT);
    await program.closed;
    expect(code).toBe(0);
    const report = JSON.parse(program.stdout.trimEnd().split('\n').at(-1) ?? '') as {
      skipped: string[];
      rows: object[];
    };
    const clients = ['handover hammer', 'wrk'].filter((client) => !report.skipped.includes(client));
    const requestsPerSecond = { median: number, min: number, max: number };
    expect(report.rows).toEqual(clients.map((client) => ({ client, requestsPerSecond })));
    if (clients.length === 2)
      expect(report).toMatchObject({ ratio: { median: number, low: number, high: number, isConfident: false } });
  },
  RUN_TIMEOUT + 5_000,
);
