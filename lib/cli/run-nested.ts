// `handover run` in a worker of another `handover run`, for example in a start script. Its command becomes the worker of the
// outer supervisor, and this process is only a wrapper of the command.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { connectsTo } from '../fd/dial.js';
import { parseSupervisorWay } from '../platform/supervisor-way.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Context } from './command.js';
import { FORWARDED } from './run-signals.js';

/** The pid of the supervisor that started this process; undefined where none did, or it has ended. */
export function outerSupervisor(variables: NodeJS.ProcessEnv): number | undefined {
  const { path, supervisorPid } = parseSupervisorWay(variables) ?? {};
  return path !== undefined && connectsTo(path) === 0 ? supervisorPid : undefined;
}

/** Runs the command, which finds the outer supervisor by itself. Resolves with its exit code, or 128 and its signal's number. */
export async function stepAside(
  outer: number,
  { options, args: [file, ...args], variables }: Pick<Context, 'options' | 'args' | 'variables'>,
): Promise<number> {
  if (file === undefined)
    throw new CommandError(EXIT.usage, 'run needs the command of the workers: handover run -- COMMAND');
  if (options.listen !== undefined) {
    const message = `this \`handover run\` is a worker of another one (pid ${outer}), which holds the listeners: give --listen to that one`;
    throw new CommandError(EXIT.usage, message);
  }
  process.stderr.write(`handover run: pid ${outer} keeps the workers, and ${file} is one of them\n`);
  const child = spawn(file, args, { stdio: 'inherit', env: variables });
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      resolve(signal === null ? (code ?? EXIT.failed) : 128 + constants.signals[signal]),
    );
  });
  for (const signal of ['SIGTERM', 'SIGINT', ...FORWARDED] as const) process.on(signal, () => child.kill(signal));
  // These signals ask for new workers, and only the outer supervisor can replace them.
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => process.kill(outer, signal));
  return exited;
}
