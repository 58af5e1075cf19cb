// How this process was started, which is how its successor is started: executable, environment and directory. Noted when the
// package is loaded, because the app may change all of them afterwards.
import { realpathSync } from 'node:fs';
import { delimiter, resolve, sep } from 'node:path';
import type { Env } from './env.js';
import { withoutProfiling } from './profiling.js';
import { CHANNEL_FILE_VARIABLE, CHANNEL_VARIABLE, takeChannel } from './start-self.js';
import { SUPERVISOR_VARIABLE } from './supervisor-way.js';

export interface Start {
  readonly directory: StartDirectory;
  /**
   * The environment block of the start, without what was said to this process alone: {@link consume} takes out what turns
   * out to be. What an app or `--env-file` puts into `process.env`, or takes out of it, does not change it.
   */
  readonly variables: NodeJS.ProcessEnv;
  /** `argv[0]`, where it led to the executable: followed anew for a successor. */
  readonly executable: string | undefined;
  readonly argv: readonly string[];
  readonly execArgv: readonly string[];
  /** Whether a predecessor started this process. */
  readonly hasPredecessor: boolean;
  /** The descriptor that leads to it, for the first who asks. */
  takeChannel(): number | undefined;
}

/** Where the process was started, as the shell said it: through symlinks. */
export interface StartDirectory {
  readonly physical: string;
  readonly logical: string;
}

/** Names descriptors that only this process got, or what only it is; Node takes its own out of process.env at once, too. */
const NOBODY_ELSES = [
  CHANNEL_VARIABLE,
  CHANNEL_FILE_VARIABLE,
  SUPERVISOR_VARIABLE,
  'NODE_CHANNEL_FD',
  'NODE_CHANNEL_SERIALIZATION_MODE',
  'NODE_UNIQUE_ID',
] as const;

/** Removes HANDOVER_CHANNEL from the environment. */
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
 * Takes from the environment by `take` what is meant for this process alone; what has gone from it then is no successor's,
 * either.
 */
export function consume<T>({ variables }: Env, start: Pick<Start, 'variables'>, take: () => T): T {
  const before = Object.keys(variables);
  const taken = take();
  for (const name of before) if (variables[name] === undefined) delete start.variables[name];
  return taken;
}

/**
 * The file a command leads to, looked for as execvp(3) does it, from the directory of the start; undefined where PATH has
 * none.
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
