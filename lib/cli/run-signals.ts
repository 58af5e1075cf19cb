// What signals mean to `handover run`.
import { constants } from 'node:os';
import type { Supervisor } from '../supervisor/supervisor.js';
import { EXIT } from '../terminal/exit-codes.js';

/** Signals that mean something to a worker and nothing to its supervisor. */
export const FORWARDED = ['SIGUSR1', 'SIGQUIT', 'SIGWINCH', 'SIGALRM', 'SIGCONT'] as const;

type Report = (line: string) => void;

/** How a supervisor is ended. */
export interface Ending {
  /** Aborted when it has been told to end. */
  readonly told: AbortSignal;
  /** The exit code, when it has. */
  readonly ended: Promise<number>;
  /** Tells it, as a SIGTERM does. */
  end(why: string): Promise<number>;
}

/** From the start on: what comes before the workers serve waits, or ends them. */
export function handleSignals(supervisor: Supervisor, report: Report): Ending {
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
  return handleEnd(supervisor, report);
}

function handleEnd(supervisor: Supervisor, report: Report): Ending {
  const told = new AbortController();
  let resolveEnded: (code: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    resolveEnded = resolve;
  });
  const end = (why: string): Promise<number> => {
    if (!told.signal.aborted) {
      told.abort();
      report(`stopping: ${why}`);
      void supervisor.stop().then((hasDrained) => resolveEnded(hasDrained ? EXIT.ok : EXIT.failed));
    }
    return ended;
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (!told.signal.aborted) {
        void end(signal);
        return;
      }
      supervisor.kill();
      resolveEnded(128 + constants.signals[signal]);
    });
  }
  return { told: told.signal, ended, end };
}

/** What goes wrong is reported by the supervisor. */
export function upgrade(supervisor: Supervisor, why: string, report: Report): void {
  report(`replacing the workers: ${why}`);
  supervisor.upgrade().catch(() => {});
}

export function count({ workerCount }: Supervisor): string {
  return workerCount === 1 ? '1 worker serves' : `${workerCount} workers serve`;
}
