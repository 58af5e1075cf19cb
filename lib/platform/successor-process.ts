// The process at the other end, as far as this one can reach it: its own child, or a stranger's by its pidfd.

import { hasProcessEnded, Pidfd } from '../fd/pidfd.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { STOP_GRACE, TAIL_GRACE } from '../protocol/timeouts.js';
import type { Exit, StartedProcess } from './env.js';
import type { StderrTee } from './stderr-tee.js';

export interface SuccessorProcess {
  /** 0 where it lives in a pid namespace this process cannot see. */
  readonly pid: number;
  /** Of one that dialled in, as the kernel says. */
  readonly uid?: number | undefined;
  /** Whether it has, as the kernel says at this moment: before `exited` can. */
  hasEnded(): boolean;
  /** How it ended; undefined where only its parent is told, or it cannot be watched at all. */
  readonly exited: Promise<Exit | undefined>;
  /** Whether it has this process' stdio. */
  readonly isChild: boolean;
  /** Whether it was started for this handover, and may still be loading; otherwise it dialled in by itself. */
  readonly wasStarted: boolean;
  /** The pipe that is stderr to what it has started while it loaded, borrowed; undefined where there is none, or no more. */
  readonly helpersStderr?: number | undefined;
  /** The last lines it wrote to stderr before it was ready. */
  stderrTail(): Promise<string>;
  /** SIGTERM, when it has ended or after `grace` ms SIGKILL to what is left. Resolves when it is gone, or out of reach. */
  stop(options?: { readonly grace?: number }): Promise<void>;
  /** This process no longer waits for it. */
  release(): void;
}

/** A process this one started, with its process group. */
export function childProcess(process: StartedProcess, tee: StderrTee, clock: Clock): SuccessorProcess {
  return {
    pid: process.pid,
    exited: process.exited,
    hasEnded: () => process.hasEnded(),
    isChild: true,
    wasStarted: true,
    get helpersStderr() {
      return tee.fd;
    },
    async stderrTail(): Promise<string> {
      await settlesWithin(tee.ended(), TAIL_GRACE, clock);
      return tee.tail;
    },
    stop: ({ grace = STOP_GRACE } = {}) => stopBy((signal) => process.kill(signal), process.exited, grace, clock),
    release() {
      process.unref();
      tee.unref();
    },
  };
}

/**
 * A process that dialled in, or that a supervisor started. Owns the pidfd; without one it can be neither watched nor
 * stopped.
 */
export function foreignProcess(
  pid: number,
  pidfd: number | undefined,
  { wasStarted = false, uid }: { readonly wasStarted?: boolean; readonly uid?: number } = {},
): SuccessorProcess {
  const process = pidfd === undefined ? undefined : new Pidfd(pidfd);
  const exited = process?.exited ?? Promise.resolve(undefined);
  return {
    pid,
    uid,
    exited,
    hasEnded: () => hasProcessEnded(pid),
    isChild: false,
    wasStarted,
    stderrTail: async () => '',
    stop: ({ grace = STOP_GRACE } = {}) => stopBy((signal) => process?.kill(signal) ?? false, exited, grace),
    release: () => process?.close(),
  };
}

/** Nobody is waited for that no signal reaches. */
async function stopBy(
  kill: (signal: 'SIGTERM' | 'SIGKILL') => boolean,
  exited: Promise<unknown>,
  grace: number,
  clock: Clock = systemClock,
): Promise<void> {
  if (grace > 0 && kill('SIGTERM')) await settlesWithin(exited, grace, clock);
  // Also when it has ended: it may have left others in its group.
  if (kill('SIGKILL')) await exited;
}
