// The profile of a successor's start: how it is told to make one, before any code of the app is loaded.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../fd/package.js';

/** Tells a process into which file to write the CPU profile of its start. */
const PROFILE_VARIABLE = 'HANDOVER_PROFILE';

/**
 * Variables for a successor that profiles itself until it is ready. Makes the directory.
 * @throws what mkdir(2) says
 */
export function profileStart(directory: string, handoverId: string, variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  mkdirSync(directory, { recursive: true });
  const file = join(resolve(directory), `${handoverId}.successor-start.cpuprofile`);
  const { NODE_OPTIONS: options } = variables;
  return { [PROFILE_VARIABLE]: file, NODE_OPTIONS: [options, preload()].filter(Boolean).join(' ') };
}

/** What a process was started with, less what made it profile its start: that goes on to no successor. Changes `variables`. */
export function withoutProfiling(variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (variables[PROFILE_VARIABLE] === undefined) return variables;
  delete variables[PROFILE_VARIABLE];
  const options = variables.NODE_OPTIONS?.split(' ').filter((option) => option !== preload());
  if (options?.length) variables.NODE_OPTIONS = options.join(' ');
  else delete variables.NODE_OPTIONS;
  return variables;
}

/** Undefined in a bundle without the package beside it, which starts no successor. */
function preload(): string | undefined {
  const root = packageRoot();
  return root && `--import=${pathToFileURL(join(root, 'dist/observe/profile-start.js')).href}`;
}
