// Tells a successor to profile its start, from before any code of the app is loaded.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../fd/package.js';

/** Variable with the path of the file into which a process writes the CPU profile of its start. */
const PROFILE_VARIABLE = 'HANDOVER_PROFILE';

/**
 * Variables with which a successor profiles itself until it is ready. Makes the directory.
 * @throws the system's error of mkdir(2)
 */
export function profileStart(directory: string, handoverId: string, variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  mkdirSync(directory, { recursive: true });
  const file = join(resolve(directory), `${handoverId}.successor-start.cpuprofile`);
  const { NODE_OPTIONS: options } = variables;
  return { [PROFILE_VARIABLE]: file, NODE_OPTIONS: [options, preload()].filter(Boolean).join(' ') };
}

/** Removes from `variables`, and returns them, what made this process profile its start: a successor must not inherit it. */
export function withoutProfiling(variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (variables[PROFILE_VARIABLE] === undefined) return variables;
  delete variables[PROFILE_VARIABLE];
  const options = variables.NODE_OPTIONS?.split(' ').filter((option) => option !== preload());
  if (options?.length) variables.NODE_OPTIONS = options.join(' ');
  else delete variables.NODE_OPTIONS;
  return variables;
}

/** The option that loads the profiler; undefined in a bundle without the package beside it, which starts no successor. */
function preload(): string | undefined {
  const root = packageRoot();
  return root && `--import=${pathToFileURL(join(root, 'dist/observe/profile-start.js')).href}`;
}
