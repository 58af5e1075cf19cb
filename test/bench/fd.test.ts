// `npm run bench -- fd`: that it runs, what it reports, and that bad options are refused. Figures are not judged here:
// they belong to a quiet machine.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { median, medianRatio, spread } from '../../bench/lib/stats.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type StartOptions, usePrograms } from '../helpers/programs.js';

vi.setConfig({ testTimeout: 65_000 });
expectNoLeaks();
const programs = usePrograms();

const BENCH = new URL('../../bench/index.ts', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSX = import.meta.resolve('tsx');
const EXIT_TIMEOUT = 60_000;
const hasCompiler = process.platform === 'linux' && spawnSync('cc', ['--version']).status === 0;

interface Row {
  readonly system: string;
  readonly mode: string;
  readonly perMessage: number;
  readonly nsPerFd: unknown;
  readonly ratioToC: number | null;
}

interface Report {
  readonly skipped: readonly string[];
  readonly rows: readonly Row[];
}

async function run(args: readonly string[], options: StartOptions = {}) {
  const program = programs.start(BENCH, { args, execArgv: ['--import', TSX], cwd: ROOT, ...options });
  const { code } = await program.exit(EXIT_TIMEOUT);
  await program.closed;
  return { code, stdout: program.stdout, stderr: program.stderr };
}

function reportOf(stdout: string): Report {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Report;
}

/** The combinations that are measured, in order. */
function combinations(systems: readonly string[]): string[] {
  return ['one-process', 'two-process'].flatMap((mode) =>
    [1, 16, 64, 253].flatMap((perMessage) =>
      systems
        .filter((system) => system !== 'node-ipc' || mode === 'two-process')
        .map((system) => `${system} ${mode} ${perMessage}`),
    ),
  );
}

const names = (rows: readonly Row[]): string[] =>
  rows.map(({ system, mode, perMessage }) => `${system} ${mode} ${perMessage}`);

const number = expect.any(Number);

describe('bench fd', () => {
  it.runIf(hasCompiler)('--quick --json ends with every row as JSON, leaving no process and no file', async () => {
    const temporary = temporaryFolder();
    const { code, stdout } = await run(['fd', '--quick', '--json'], { env: { TMPDIR: temporary } });
    expect(code).toBe(0);
    const report = reportOf(stdout);
    expect(report).toEqual({
      bench: 'fd',
      date: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      kernel: expect.any(String),
      node: process.version.slice(1),
      cpus: number,
      rounds: 2,
      quick: true,
      skipped: [],
      expectations: expect.any(Array),
      rows: expect.any(Array),
    });
    expect(names(report.rows)).toEqual(combinations(['c', 'handover', 'node-ipc']));
    for (const row of report.rows) {
      expect(row).toEqual({
        system: expect.any(String),
        mode: expect.any(String),
        perMessage: number,
        nsPerFd: { median: number, min: number, max: number },
        ratioToC: row.system === 'c' ? 1 : number,
      });
    }
    expect(readdirSync(temporary).filter((name) => name.startsWith('handover-'))).toEqual([]);
  });

  it('says by name that C is left out where there is no compiler', async () => {
    const empty = temporaryFolder();
    const { code, stdout } = await run(['fd', '--quick', '--json', '--rounds', '1'], { env: { PATH: empty } });
    expect(code).toBe(0);
    expect(stdout).toContain('c: skipped, ');
    const { skipped, rows } = reportOf(stdout);
    expect(skipped).toEqual(['c']);
    expect(names(rows)).toEqual(combinations(['handover', 'node-ipc']));
    expect(rows.every(({ ratioToC }) => ratioToC === null)).toBe(true);
  });
});

describe('the command line of bench', () => {
  it.each([
    [['fdd'], 'unknown benchmark "fdd"; there are: fd'],
    [['constructor'], 'unknown benchmark "constructor"'],
    [['fd', 'again'], 'unknown benchmark "again"; there are: fd'],
    [['fd', 'fd'], '"fd" is named twice'],
    [['fd', '--out'], 'option --out expects a folder, got nothing'],
    [['fd', '--rounds'], 'option --rounds expects a whole number from 1 to 1000, got nothing'],
    [['fd', '--rounds=0'], 'option --rounds expects a whole number from 1 to 1000, got "0"'],
    [['fd', '--rounds', '0x10'], 'option --rounds expects a whole number from 1 to 1000, got "0x10"'],
    [['fd', '--quick=yes'], 'option --quick expects no value, got "yes"'],
    [['fd', '--round', '5'], 'unknown option --round;'],
    [['fd', '-x'], 'unknown option -x;'],
  ])('%j exits with 2 and says what is wrong', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect(stderr).toContain(`bench: ${message}`);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('--help names every benchmark and option', async () => {
    const { code, stdout } = await run(['--help']);
    for (const word of ['  fd ', '--rounds', '--quick', '--out', '--json', '--help']) expect(stdout).toContain(word);
    expect(code).toBe(0);
  });
});

describe('figures', () => {
  it('are medians, and ratios are taken round by round', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
    expect(spread([5, 1, 2])).toEqual({ median: 2, min: 1, max: 5 });
    // The second round was ten times slower for both.
    expect(medianRatio([2, 20, 2], [1, 10, 1])).toBe(2);
    expect(() => median([])).toThrow(RangeError);
  });
});
