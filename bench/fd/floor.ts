// Compiles floor.c for the time of one run.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Compiled {
  readonly path: string;
  remove(): void;
}

/** @returns why there is none, on a machine that cannot have one */
export function compileFloor(): Compiled | string {
  if (process.platform !== 'linux') return 'floor.c is for Linux';
  const folder = mkdtempSync(join(tmpdir(), 'handover-bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const path = join(folder, 'floor');
  const source = fileURLToPath(new URL('floor.c', import.meta.url));
  const { error, status, stderr } = spawnSync('cc', ['-O2', '-Wall', '-Wextra', '-o', path, source], {
    encoding: 'utf8',
  });
  if (status === 0) return { path, remove };
  remove();
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return 'there is no cc';
  throw error ?? new Error(`cc could not compile floor.c:\n${stderr}`);
}
