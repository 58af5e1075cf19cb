// How this process was started: executable, environment and directory. Its successor is started in the same way. All is noted
// when the package is loaded, because the app may change it afterwards.
import { realpathSync } from 'node:fs';
import { delimiter, resolve, sep } from 'node:path';
import type { Env } from './env.js';
import { withoutProfiling } from './profiling.js';
import { CHANNEL_FILE_VARIABLE, CHANNEL_VARIABLE, takeChannel } from './start-self.js';
import { SUPERVISOR_VARIABLE } from './supervisor-way.js';

export interface Start {
  readonly directory: StartDirectory;
  /**
   * The environment block of the start, without variables that are for this process alone; {@link consume} removes further
   * ones. Changes of `process.env` by the app or by `--env-file` are not in it.
   */
  readonly variables: NodeJS.ProcessEnv;
  /** `argv[0]`, where it leads to the executable of this process. For a successor it is looked up again. */
  readonly executable: string | undefined;
  readonly argv: readonly string[];
  readonly execArgv: readonly string[];
  /** Whether a predecessor started this process. */
  readonly hasPredecessor: boolean;
  /** The descriptor of the channel to the predecessor. The first caller owns it, and later ones get undefined. */
  takeChannel(): number | undefined;
}

/** The directory in which the process was started: as the kernel has it, and as the shell names it in PWD, with symlinks. */
export interface StartDirectory {
  readonly physical: string;
  readonly logical: string;
}

/** Variables for this process alone, about its descriptors and its role. Node removes its own three from process.env, too. */
const NOBODY_ELSES = [
  CHANNEL_VARIABLE,
  CHANNEL_FILE_VARIABLE,
  SUPERVISOR_VARIABLE,
  'NODE_CHANNEL_FD',
  'NODE_CHANNEL_SERIALIZATION_MODE',
  'NODE_UNIQUE_ID',
] as const;

/** Notes the start. Takes the channel to the predecessor, and removes its variables from the environment. */
export function noteStart(env: Env): Start {
  const variables = withoutProfiling({ ...env.startVariables });
  for (const name of NOBODY_ELSES) delete variables[name];
  const directory = directoryOf(env.cwd(), variables.PWD);
  const located = locate(env, env.argv0, { directory, variables });
  const executable = located !== undefined && realpathOf(located) === realpathOf(env.execPath) ? env.argv0 : undefined;
  let channel = takeChannel(env);
  const hasPredecessor = channel !== undefined;
  return {
    directory,
    variables,
    executable,
    argv: [...env.argv],
    execArgv: [...env.execArgv],
    hasPredecessor,
    takeChannel() {
      const taken = channel;
      channel = undefined;
      return taken;
    },
  };
}

function directoryOf(physical: string, PWD: string | undefined): StartDirectory {
  return { physical, logical: PWD !== undefined && realpathOf(PWD) === physical ? PWD : physical };
}

/**
 * Calls `take`, which removes variables for this process alone from the environment, and removes the same variables from the
 * environment of a successor.
 */
export function consume<T>({ variables }: Env, start: Pick<Start, 'variables'>, take: () => T): T {
  const before = Object.keys(variables);
  const taken = take();
  for (const name of before) if (variables[name] === undefined) delete start.variables[name];
  return taken;
}

/**
 * The file to which a command leads, looked up as execvp(3) does it, from the directory of the start; undefined where no
 * directory of PATH has it.
 */
export function locate(
  env: Env,
  command: string,
  { directory, variables: { PATH = '' } }: Pick<Start, 'directory' | 'variables'>,
): string | undefined {
  if (command.includes(sep)) return resolve(directory.logical, command);
  const folders = command === '' ? [] : PATH.split(delimiter);
  return folders.map((folder) => resolve(directory.logical, folder, command)).find((file) => env.isExecutable(file));
}

function realpathOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
