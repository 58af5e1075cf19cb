// `handover run`: keeps the pid and the listeners, and starts and replaces the workers.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { rangeError, typeError } from '../errors.js';
import type { Program } from '../supervisor/program.js';
import { reapOrphans } from '../supervisor/reaper.js';
import { Supervisor, type SupervisorOptions } from '../supervisor/supervisor.js';
import { watchSources } from '../supervisor/watch.js';

/** Signals that mean something to a worker and nothing to its supervisor. */
const FORWARDED = ['SIGUSR1', 'SIGQUIT', 'SIGWINCH'] as const;

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

export interface RunOptions extends SupervisorOptions {
  readonly watch: boolean;
}

/** @throws TypeError, RangeError naming the option, what was expected, and the value */
export function parseRun(argv: readonly string[]): RunOptions {
  const { values, positionals } = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  const [file, ...args] = positionals;
  if (file === undefined) throw typeError('--', 'followed by the command of the workers', '');
  const program: Program = { file, args, cwd: process.env.PWD ?? process.cwd(), env: process.env };
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

/** Runs until a signal ends it. Returns the exit code: 0, or 1 where the first start failed. */
export async function run(argv: readonly string[]): Promise<number> {
  const { watch, ...options } = parseRun(argv);
  const supervisor = new Supervisor(options);
  const stopReaping = process.pid === 1 ? reapOrphans((pid) => supervisor.isWorker(pid)) : () => {};
  const stopped = untilTold(supervisor, options.report);
  try {
    await supervisor.start();
  } catch (error) {
    options.report((error as Error).message);
    return 1;
  }
  options.report(`${options.workers} workers serve (pid ${process.pid})`);
  const stopWatching = watch
    ? watchSources(options.program.cwd, (path) => upgrade(supervisor, `${path} was saved`))
    : () => {};
  function upgrade(of: Supervisor, why: string): void {
    options.report(`replacing the workers: ${why}`);
    of.upgrade({}, (progress) =>
      options.report(
        `worker ${String(progress.slot)} is pid ${String(progress.pid)} now, after ${String(progress.ms)} ms`,
      ),
    ).catch(() => {});
  }
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => upgrade(supervisor, signal));
  const code = await stopped;
  stopWatching();
  stopReaping();
  return code;
}

/** Installs the signal handlers; resolves with the exit code when the supervisor has stopped. */
function untilTold(supervisor: Supervisor, report: (line: string) => void): Promise<number> {
  const scaleBy = (step: number): void => {
    supervisor.scale(supervisor.workerCount + step).then(
      () => report(`${supervisor.workerCount} workers serve`),
      (error: unknown) => report((error as Error).message),
    );
  };
  process.on('SIGTTIN', () => scaleBy(1));
  process.on('SIGTTOU', () => scaleBy(-1));
  for (const signal of FORWARDED) process.on(signal, () => supervisor.signal(signal));
  return new Promise((resolve) => {
    let isStopping = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (isStopping) supervisor.signal('SIGKILL');
        isStopping = true;
        report(`stopping: ${signal}`);
        void supervisor.stop().then(() => resolve(0));
      });
    }
  });
}

function toInteger(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= minimum) return value;
  throw rangeError(name, `an integer >= ${minimum}`, text);
}

function reporter(json: boolean): (line: string) => void {
  return (line) => {
    const text = json ? JSON.stringify({ time: new Date().toISOString(), message: line }) : `handover run: ${line}`;
    process.stderr.write(`${text}\n`);
  };
}
