// `handover run`: keeps the pid and the listeners, and starts and replaces the workers.
import { availableParallelism, constants } from 'node:os';
import { parseArgs } from 'node:util';
import { rangeError, typeError } from '../errors.js';
import { noteStartDirectory } from '../handover/command.js';
import { processEnv } from '../handover/env.js';
import { takeActivation } from '../ledger/activation.js';
import { Listeners } from '../supervisor/listeners.js';
import type { Program } from '../supervisor/program.js';
import { reapOrphans } from '../supervisor/reaper.js';
import { Supervisor, type SupervisorOptions } from '../supervisor/supervisor.js';
import { watchSources } from '../supervisor/watch.js';

/** Signals that mean something to a worker and nothing to its supervisor. */
const FORWARDED = ['SIGUSR1', 'SIGQUIT', 'SIGWINCH', 'SIGALRM', 'SIGCONT'] as const;

const OPTIONS = {
  workers: { type: 'string', default: '1' },
  listen: { type: 'string', multiple: true, default: [] as string[] },
  'max-surge': { type: 'string', default: '1' },
  'progress-deadline': { type: 'string', default: '120000' },
  settle: { type: 'string', default: '1000' },
  'stop-timeout': { type: 'string', default: '35000' },
  watch: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const;

const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

export interface RunOptions extends SupervisorOptions {
  readonly watch: boolean;
}

/** @throws TypeError, RangeError naming the option, what was expected, and the value */
export function parseRun(argv: readonly string[]): RunOptions {
  const { values, positionals } = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  const [file, ...args] = positionals;
  if (file === undefined) throw typeError('--', 'followed by the command of the workers', '');
  const program: Program = { file, args, cwd: noteStartDirectory(processEnv).logical, env: process.env };
  return {
    program,
    workers: values.workers === 'auto' ? availableParallelism() : toInteger('--workers', values.workers, 1),
    listen: values.listen,
    maxSurge: toInteger('--max-surge', values['max-surge'], 1),
    progressDeadline: toInteger('--progress-deadline', values['progress-deadline'], 1),
    settle: toInteger('--settle', values.settle, 0),
    stopTimeout: toInteger('--stop-timeout', values['stop-timeout'], 0),
    watch: values.watch,
    report: reporter(values.json),
  };
}

/**
 * Runs until a signal ends it. Returns the exit code: 0 every worker has drained; 1 the first start failed, or a worker had
 * to be killed; 2 the command line was wrong; 128 and the signal's number it was told twice.
 */
export async function run(argv: readonly string[]): Promise<number> {
  // Whoever read it has gone: what is served matters more than what is said.
  process.stderr.on('error', () => {});
  let options: RunOptions;
  let supervisor: Supervisor;
  try {
    options = parseRun(argv);
    const listeners = new Listeners();
    listeners.activate(takeActivation(process.env, process.pid, process.ppid));
    supervisor = new Supervisor(options, listeners);
  } catch (error) {
    reporter(false)((error as Error).message);
    return hasSyscall(error) ? EXIT.failed : EXIT.usage;
  }
  return supervise(supervisor, options);
}

async function supervise(supervisor: Supervisor, { watch, report, program }: RunOptions): Promise<number> {
  const stopReaping = process.pid === 1 ? reapOrphans() : () => {};
  const { told, ended } = handleSignals(supervisor, report);
  try {
    await supervisor.start();
  } catch (error) {
    // Told to end before it served: that is no failure.
    if (told.aborted) return ended;
    report((error as Error).message);
    return EXIT.failed;
  }
  report(`${count(supervisor)} (pid ${process.pid})`);
  const stopWatching = watch ? upgradeOnSave(supervisor, program.cwd, report) : () => {};
  const code = await ended;
  stopWatching();
  stopReaping();
  return code;
}

type Report = (line: string) => void;

/** From the start on: what comes before the workers serve waits, or ends them. */
function handleSignals(
  supervisor: Supervisor,
  report: Report,
): { readonly told: AbortSignal; readonly ended: Promise<number> } {
  const told = new AbortController();
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => upgrade(supervisor, signal, report));
  const scaleBy = (step: number): void => {
    supervisor.scaleBy(step).then(
      () => report(count(supervisor)),
      (error: unknown) => report((error as Error).message),
    );
  };
  process.on('SIGTTIN', () => scaleBy(1));
  process.on('SIGTTOU', () => scaleBy(-1));
  for (const signal of FORWARDED) process.on(signal, () => supervisor.signal(signal));
  const ended = new Promise<number>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (told.signal.aborted) {
          supervisor.kill();
          resolve(128 + constants.signals[signal]);
          return;
        }
        told.abort();
        report(`stopping: ${signal}`);
        void supervisor.stop().then((hasDrained) => resolve(hasDrained ? EXIT.ok : EXIT.failed));
      });
    }
  });
  return { told: told.signal, ended };
}

function upgrade(supervisor: Supervisor, why: string, report: Report): void {
  report(`replacing the workers: ${why}`);
  // What goes wrong has been reported.
  supervisor.upgrade().catch(() => {});
}

function upgradeOnSave(supervisor: Supervisor, directory: string, report: Report): () => void {
  return watchSources(directory, {
    onSaved: (path) => upgrade(supervisor, `${path} was saved`, report),
    onError: (error) => report(`cannot watch ${directory}: ${error.message}`),
  });
}

function count({ workerCount }: Supervisor): string {
  return workerCount === 1 ? '1 worker serves' : `${workerCount} workers serve`;
}

function hasSyscall(error: unknown): boolean {
  return typeof (error as { readonly syscall?: unknown }).syscall === 'string';
}

function toInteger(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= minimum) return value;
  throw rangeError(name, `an integer >= ${minimum}`, text);
}

function reporter(json: boolean): Report {
  return (line) => {
    const text = json ? JSON.stringify({ time: new Date().toISOString(), message: line }) : `handover run: ${line}`;
    process.stderr.write(`${text}\n`);
  };
}
