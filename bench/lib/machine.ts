// What the figures were measured on, and what was measured: without these they say nothing.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Machine {
  readonly kernel: string;
  readonly node: string;
  readonly cpus: number;
}

export function machine(): Machine {
  return {
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version.slice(1),
    cpus: os.availableParallelism(),
  };
}

/** What a page says beside {@link machine}. */
export interface Measured {
  readonly version: string;
  /** Null outside of a repository; `+` behind it when files have been changed since. */
  readonly commit: string | null;
  readonly cpu: string;
  readonly memoryMiB: number;
  /** How many processes wanted to run in the minute before: figures of a busy machine are worth less. */
  readonly load: number;
}

export function measured(): Measured {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string };
  return {
    version,
    commit: commitOf(root),
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    memoryMiB: Math.round(os.totalmem() / 2 ** 20),
    load: Math.round(100 * (os.loadavg()[0] ?? 0)) / 100,
  };
}

function commitOf(cwd: string): string | null {
  const git = (...args: string[]) => spawnSync('git', args, { cwd, encoding: 'utf8' });
  const { status, stdout } = git('rev-parse', '--short=12', 'HEAD');
  if (status !== 0) return null;
  const changes = git('status', '--porcelain', '--untracked-files=no').stdout;
  return stdout.trim() + (changes === '' ? '' : '+');
}
