// The program of the workers: the command, and the release it stands for, which a rollback starts again.
import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { identifyRelease, type Release as ReleasePrint } from '../platform/release.js';

/** The command line behind `--`. */
export interface Program {
  readonly file: string;
  readonly args: readonly string[];
  /** Working directory as in the shell's PWD: a `current` symlink in it is followed anew for every worker. */
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A program as it was when a worker started: symlinks are resolved, because they may lead elsewhere later. */
export interface Release {
  readonly program: Program;
  /** Identity of the files at that time, by which releases are told apart. */
  readonly print: ReleasePrint;
}

/** The release that a worker started now would run. */
export function currentRelease(program: Program): Release {
  const cwd = realpathOf(program.cwd) ?? program.cwd;
  const args = program.args.map((arg) => withoutSymlink(arg, cwd));
  const file = withoutSymlinkedFolder(program.file, cwd);
  const { env } = program;
  return {
    program: { file, cwd, args, env: { ...env, PWD: cwd } },
    print: identifyRelease({ file, args, cwd }),
  };
}

/** Resolves an argument that names a file behind a symlink. Others stay: `npm start` may have a file `start`. */
function withoutSymlink(arg: string, cwd: string): string {
  if (arg.startsWith('-')) return arg;
  const path = resolve(cwd, arg);
  const real = realpathOf(path);
  return real === undefined || real === path || !statSync(real).isFile() ? arg : real;
}

/**
 * Resolves the folder, as in `current/node`, but not the file name: busybox and the python of a virtual environment act by
 * the name of the link. A name without a slash stays: it is looked up in PATH.
 */
function withoutSymlinkedFolder(file: string, cwd: string): string {
  if (!file.includes('/')) return file;
  const path = resolve(cwd, file);
  const folder = realpathOf(dirname(path));
  return folder === undefined || folder === dirname(path) ? file : join(folder, basename(path));
}

function realpathOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
