// The process of the successor, as far as this process can watch and stop it: a child, or another process by its pidfd.

import { hasProcessEnded, Pidfd } from '../fd/pidfd.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { STOP_GRACE, TAIL_GRACE } from '../protocol/timeouts.js';
import type { Exit, StartedProcess } from './env.js';
import type { StderrTee } from './stderr-tee.js';

export interface SuccessorProcess {
  /** 0 where the process lives in a pid namespace that this one cannot see. */
  readonly pid: number;
  /** User of a process that dialled in, as the kernel says (SO_PEERCRED). */
  readonly uid?: number | undefined;
  /** Whether the process has ended, asked of the kernel now: `exited` resolves later. */
  hasEnded(): boolean;
  /** How the process ended; undefined where only its parent is told, or where this process cannot watch it. */
  readonly exited: Promise<Exit | undefined>;
  /** Whether it is a child of this process, and so shares its stdio. */
  readonly isChild: boolean;
  /** Whether it was started for this handover, and may be loading; false for a process that dialled in by itself. */
  readonly wasStarted: boolean;
  /** Reading end of the stderr of its helpers (helpers-stderr.ts), borrowed; undefined where there is none, or it has ended. */
  readonly helpersStderr?: number | undefined;
  /** The last lines that it wrote to stderr before it was ready; empty where this process did not start it. */
  stderrTail(): Promise<string>;
  /**
   * Sends SIGTERM, and SIGKILL to the rest when the process has ended or after `grace` milliseconds. Resolves when it has ended,
   * at once for one that no signal reaches.
   */
  stop(options?: { readonly grace?: number }): Promise<void>;
  /** Stops watching the process, and lets this process end before it. */
  release(): void;
}

/** A child of this process, with its process group. */
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
 * A process that dialled in, or that a supervisor started. Owns the pidfd; without one, this process can neither watch nor stop
 * it.
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

/** Stops a process by its signals. Does not wait for a process that a signal did not reach. */
async function stopBy(
  kill: (signal: 'SIGTERM' | 'SIGKILL') => boolean,
  exited: Promise<unknown>,
  grace: number,
  clock: Clock = systemClock,
): Promise<void> {
  if (grace > 0 && kill('SIGTERM')) await settlesWithin(exited, grace, clock);
  // SIGKILL is sent also to a process that has ended: others of its group may be left.
  if (kill('SIGKILL')) await exited;
}
