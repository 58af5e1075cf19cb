// What the workers run: the command, and the release it stands for, which a rollback starts again.
import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { identifyRelease, type Release as ReleasePrint } from '../platform/release.js';

/** The command line behind `--`. */
export interface Program {
  readonly file: string;
  readonly args: readonly string[];
  /** Where it runs, as the shell said it: a `current` symlink in it is followed anew for every worker. */
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A program as it was when a worker was started: with no symlink left that could lead elsewhere later. */
export interface Release {
  readonly program: Program;
  /** What the file system had then, to tell one release from another. */
  readonly print: ReleasePrint;
}

/** The release that would be started now. */
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

/** An argument that names a file behind a symlink, without it; any other as it is: `npm start` may have a file `start`. */
function withoutSymlink(arg: string, cwd: string): string {
  if (arg.startsWith('-')) return arg;
  const path = resolve(cwd, arg);
  const real = realpathOf(path);
  return real === undefined || real === path || !statSync(real).isFile() ? arg : real;
}

/**
 * `current/node` is the release's own. The last part stays: a name that is a link itself may be what a program goes by
 * (busybox, the python of a virtual environment). A name without a slash is looked for in PATH.
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
