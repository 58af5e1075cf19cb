// Programs nobody here wrote, as they come with the system: looked for, started, and ended with the test.
import { spawn, spawnSync } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { Program } from '../helpers/programs.js';

export { temporaryFolder as toolFolder } from '../helpers/folders.js';

/** Where this machine has the program; a test of one it has not shows as skipped. `.ci/run` installs them all. */
export function findTool(name: string): string | undefined {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v "$0"', name], { env: toolEnvironment() });
  return status === 0 ? `${stdout}`.trim() : undefined;
}

export function hasTool(name: string): boolean {
  return findTool(name) !== undefined;
}

/** For the name of its tests: says why they did not run. */
export function needs(name: string): string {
  return hasTool(name) ? '' : ` (SKIPPED: needs ${name})`;
}

/** Starts it. What still runs at the end of the test is ended. */
export function startTool(name: string, args: readonly string[]): Program {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'], env: toolEnvironment() });
  child.once('error', () => {});
  if (child.pid === undefined) throw new Error(`could not start ${name}`);
  const program = new Program(child, child.pid);
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) await program.stop('SIGTERM').catch(() => {});
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await program.closed;
  });
  return program;
}

function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C' };
}
