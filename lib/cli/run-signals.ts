// Handles the signals of `handover run`.
import { constants } from 'node:os';
import type { Supervisor } from '../supervisor/supervisor.js';
import { EXIT } from '../terminal/exit-codes.js';

/** Signals that the supervisor passes on to its workers, and that have no meaning of their own for it. */
export const FORWARDED = ['SIGUSR1', 'SIGQUIT', 'SIGWINCH', 'SIGALRM', 'SIGCONT'] as const;

type Report = (line: string) => void;

/** The end of a supervisor. */
export interface Ending {
  /** Aborted when the supervisor is told to end. */
  readonly told: AbortSignal;
  /** Resolves with the exit code when the supervisor has ended. */
  readonly ended: Promise<number>;
  /** Tells the supervisor to end, as SIGTERM does. */
  end(why: string): Promise<number>;
}

/** Handles signals from the start on, also before the workers serve. */
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

/** Replaces the workers. The supervisor reports a failure itself. */
export function upgrade(supervisor: Supervisor, why: string, report: Report): void {
  report(`replacing the workers: ${why}`);
  supervisor.upgrade().catch(() => {});
}

export function count({ workerCount }: Supervisor): string {
  return workerCount === 1 ? '1 worker serves' : `${workerCount} workers serve`;
}
