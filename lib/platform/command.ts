// The command of the successor: the one that started this process, resolved again. So a `current` symlink that was switched
// meanwhile starts the new release, with the `node` that the path leads to now.
import { join, relative, resolve, sep } from 'node:path';
import { HandoverError, toError } from '../errors.js';
import type { Command, Env } from './env.js';
import { locate, type Start, type StartDirectory } from './start.js';

/** The differences from the command that started this process. */
export interface SuccessorCommand {
  /** The executable. */
  readonly command?: string;
  /** All arguments of the executable; `execArgv` is not added to them. */
  readonly args?: readonly string[];
  readonly execArgv?: readonly string[];
  /** Working directory, relative to the one in which this process was started. */
  readonly cwd?: string;
  /**
   * Added to the environment with which this process was started; `undefined` removes a variable. A function is called for
   * every handover, with a copy of that environment, and may return a promise.
   */
  readonly env?: NodeJS.ProcessEnv | SuccessorEnv;
}

export type SuccessorEnv = (started: NodeJS.ProcessEnv) => NodeJS.ProcessEnv | Promise<NodeJS.ProcessEnv>;

/** The executable, its arguments and its directory. */
export type CommandFiles = Omit<Command, 'variables'>;

/**
 * The command of the successor.
 * @throws ERR_HANDOVER_COMMAND_NOT_FOUND the executable is gone: an update may have removed it; ERR_HANDOVER_SPAWN_FAILED the
 *   function `successor.env` failed
 */
export async function successorCommand(env: Env, start: Start, overrides: SuccessorCommand): Promise<Command> {
  return { ...successorFiles(env, start, overrides), variables: await successorVariables(start, overrides.env) };
}

/**
 * The command without its environment, which has no part in identifying the release.
 * @throws ERR_HANDOVER_COMMAND_NOT_FOUND
 */
export function successorFiles(env: Env, start: Start, overrides: SuccessorCommand): CommandFiles {
  const { directory, argv } = start;
  const { execArgv = withoutInspector(start.execArgv) } = overrides;
  const cwd = resolve(directory.logical, overrides.cwd ?? '.');
  const [, entry, ...rest] = argv;
  const script = entry === undefined ? [] : [throughLink(entry, directory)];
  const args = overrides.args ?? [...execArgv, ...script, ...rest];
  return { ...executableOf(env, start, overrides.command, cwd), args, cwd };
}

function executableOf(env: Env, start: Start, command: string | undefined, cwd: string): ExecutableFile {
  if (command !== undefined) return { file: command.includes(sep) ? existing(env, resolve(cwd, command)) : command };
  // The command as it was typed is looked up again: `current/node` is the new release's, and the file that runs may be gone.
  const found = start.executable === undefined ? undefined : locate(env, start.executable, start);
  if (start.executable !== undefined && found !== undefined && env.isExecutable(found))
    return { file: found, argv0: start.executable };
  return { file: existing(env, env.execPath) };
}

type ExecutableFile = Pick<Command, 'file' | 'argv0'>;

function existing(env: Env, file: string): string {
  if (env.isExecutable(file)) return file;
  const message = `${file} is gone or not executable: the successor cannot be started`;
  throw new HandoverError('ERR_HANDOVER_COMMAND_NOT_FOUND', message, { phase: 'PREPARE', stillServing: true });
}

async function successorVariables({ variables }: Start, more: SuccessorCommand['env']): Promise<NodeJS.ProcessEnv> {
  if (typeof more !== 'function') return { ...variables, ...more };
  try {
    const result = await more({ ...variables });
    if (typeof result !== 'object' || result === null) throw new TypeError(`it returned ${String(result)}, no object`);
    return { ...variables, ...result };
  } catch (cause) {
    const message = `successor.env failed: ${toError(cause).message}`;
    throw new HandoverError('ERR_HANDOVER_SPAWN_FAILED', message, { cause, phase: 'PREPARE', stillServing: true });
  }
}

/** Node makes `argv[1]` absolute by the physical directory. Puts the logical one back, which goes through the symlinks. */
function throughLink(entry: string, { physical, logical }: StartDirectory): string {
  if (logical === physical || !entry.startsWith(physical + sep)) return entry;
  return join(logical, relative(physical, entry));
}

/** Removes the options of the inspector: the port is taken by this process, so a second inspector only complains (FACTS P3). */
function withoutInspector(execArgv: readonly string[]): string[] {
  const isInspector = (arg: string): boolean => /^--(inspect|debug-port)/.test(arg);
  const takesNext = (arg: string | undefined): boolean =>
    /^--(inspect-port|debug-port|inspect-publish-uid)$/.test(arg ?? '');
  return execArgv.filter((arg, i) => !isInspector(arg) && !takesNext(execArgv[i - 1]));
}
