// `npm run bench -- NAME --quick --json` as a test runs it: to its end, leaving no file of its own behind.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import type { Programs } from '../helpers/programs.js';

const BENCH = new URL('../../bench/index.ts', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSX = import.meta.resolve('tsx');

/** Any figure; figures over rounds; a confidence interval. They belong to a quiet machine, and are not judged. */
export const number: unknown = expect.any(Number);
export const spread: unknown = { median: number, min: number, max: number };
/** One round has none. */
export const interval: unknown = { median: number, low: number, high: number, of: 1, isConfident: false };

/** One quick round; the object it printed last. */
export async function benchReport<T>({ start }: Programs, name: string, timeout: number): Promise<T> {
  const temporary = temporaryFolder();
  const program = start(BENCH, {
    args: [name, '--quick', '--json', '--rounds', '1'],
    execArgv: ['--import', TSX],
    cwd: ROOT,
    env: { TMPDIR: temporary },
  });
  const { code } = await program.exit(timeout);
  await program.closed;
  expect(program.stderr).not.toContain('Error');
  expect(code).toBe(0);
  expect(readdirSync(temporary).filter((file) => file.startsWith('handover-'))).toEqual([]);
  return JSON.parse(program.stdout.trimEnd().split('\n').at(-1) ?? '') as T;
}
