// Turns the command line of `handover run` into the options of a supervisor.
import { availableParallelism } from 'node:os';
import { processEnv } from '../platform/env.js';
import type { SystemdOptions } from '../platform/service-manager.js';
import { noteStart } from '../platform/start.js';
import { writeStderr } from '../platform/write-stderr.js';
import type { Program } from '../supervisor/program.js';
import type { SupervisorOptions } from '../supervisor/supervisor.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Values } from './command.js';

export interface RunOptions extends SupervisorOptions {
  readonly watch: boolean;
  readonly systemd: SystemdOptions;
  /** Path of the control socket; undefined for none. */
  readonly control: string | undefined;
}

/** @throws CommandError naming the option, what was expected, and the value */
export function runOptions(
  options: Values,
  [file, ...args]: readonly string[],
  variables: NodeJS.ProcessEnv,
): RunOptions {
  if (file === undefined)
    throw new CommandError(EXIT.usage, 'run needs the command of the workers: handover run -- COMMAND');
  const program: Program = { file, args, cwd: noteStart(processEnv).directory.logical, env: variables };
  const integer = (name: string, byDefault: number, minimum: number): number =>
    toInteger(`--${name}`, String(options[name] ?? byDefault), minimum);
  const { control = variables.HANDOVER_CONTROL } = options;
  // HANDOVER_CONTROL is the path of the supervisor's socket. The workers must not inherit it.
  delete variables.HANDOVER_CONTROL;
  return {
    program,
    workers: options.workers === 'auto' ? availableParallelism() : integer('workers', 1, 1),
    listen: (options.listen as readonly string[] | undefined) ?? [],
    maxSurge: integer('max-surge', 1, 1),
    progressDeadline: integer('progress-deadline', 120_000, 1),
    settle: integer('settle', 1_000, 0),
    stopTimeout: integer('stop-timeout', 35_000, 0),
    watch: options.watch === true,
    systemd: options.fdstore === true ? { fdstore: true } : {},
    control: typeof control === 'string' && control !== '' ? control : undefined,
    report: reporter(options.json === true),
  };
}

function toInteger(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= minimum) return value;
  throw new CommandError(EXIT.usage, `"${name}" must be an integer >= ${minimum}. Received '${text}'`);
}

/** Writes lines for the operator to stderr, because stdout belongs to the workers. */
function reporter(json: boolean): (line: string) => void {
  return (line) => {
    const text = json ? JSON.stringify({ time: new Date().toISOString(), message: line }) : `handover run: ${line}`;
    writeStderr(Buffer.from(`${text}\n`));
  };
}
