// What the successor is started with: this process' own command, resolved anew so that a `current` symlink that was
// switched meanwhile starts the new release.
import { realpathSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { HandoverError } from '../errors.js';
import type { Command, Env } from './env.js';

/** Where the process was started, as the shell said it: through symlinks. Only true at the start, so noted then. */
export interface StartDirectory {
  readonly physical: string;
  readonly logical: string;
}

export function noteStartDirectory(env: Env): StartDirectory {
  const physical = env.cwd();
  const { PWD: logical } = env.variables;
  return { physical, logical: logical !== undefined && realpathOf(logical) === physical ? logical : physical };
}

/** What differs from this process' own command. */
export interface SuccessorCommand {
  /** The executable. */
  readonly command?: string;
  /** Everything behind it; `execArgv` is then not added. */
  readonly args?: readonly string[];
  readonly execArgv?: readonly string[];
  readonly cwd?: string;
  /** Instead of this process' environment. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * The command of the successor.
 * @throws ERR_HANDOVER_COMMAND_NOT_FOUND the executable has vanished: an update may have removed it
 */
export function successorCommand(env: Env, start: StartDirectory, overrides: SuccessorCommand): Command {
  const { command: file = env.execPath, execArgv = withoutInspector(env.execArgv) } = overrides;
  // A bare name is looked for in PATH by whoever starts it.
  if (file.includes(sep) && !env.isExecutable(file)) {
    const message = `${file} is gone or not executable: the successor cannot be started`;
    throw new HandoverError('ERR_HANDOVER_COMMAND_NOT_FOUND', message, { phase: 'PREPARE' });
  }
  const [, entry, ...rest] = env.argv;
  const script = entry === undefined ? [] : [throughLink(entry, start)];
  return {
    file,
    args: overrides.args ?? [...execArgv, ...script, ...rest],
    // An app that changed its directory meant it.
    cwd: overrides.cwd ?? (env.cwd() === start.physical ? start.logical : env.cwd()),
    variables: { ...(overrides.env ?? env.variables) },
  };
}

/** Node makes `argv[1]` absolute with the physical directory: put the logical one back. */
function throughLink(entry: string, { physical, logical }: StartDirectory): string {
  if (logical === physical || !entry.startsWith(physical + sep)) return entry;
  return join(logical, relative(physical, entry));
}

/** Two inspectors on one port: the second only complains (FACTS P3). */
function withoutInspector(execArgv: readonly string[]): string[] {
  const isInspector = (arg: string): boolean => /^--(inspect|debug-port)/.test(arg);
  const takesNext = (arg: string | undefined): boolean =>
    /^--(inspect-port|debug-port|inspect-publish-uid)$/.test(arg ?? '');
  return execArgv.filter((arg, i) => !isInspector(arg) && !takesNext(execArgv[i - 1]));
}

function realpathOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
