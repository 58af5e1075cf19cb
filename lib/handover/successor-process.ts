// The process at the other end, as far as this one can reach it: its own child, or a stranger's by its pidfd.
import { constants } from 'node:os';
import { closeFd } from '../fd/index.js';
import { native, type Poller, READABLE } from '../fd/native.js';
import { settlesWithin } from './deadline.js';
import type { Exit, StartedProcess } from './env.js';
import type { StderrTee } from './stderr-tee.js';

export interface SuccessorProcess {
  /** 0 where it lives in a pid namespace this process cannot see. */
  readonly pid: number;
  /** How it ended; undefined where only its parent is told, or it cannot be watched at all. */
  readonly exited: Promise<Exit | undefined>;
  /** The last lines it wrote to stderr before it was ready. */
  stderrTail(): Promise<string>;
  /** SIGTERM, after `grace` ms SIGKILL; with a grace of 0 SIGKILL at once. Resolves when it is gone, or cannot be reached. */
  stop(options?: { readonly grace?: number }): Promise<void>;
  /** This process no longer waits for it. */
  release(): void;
}

const STOP_GRACE = 5_000;

/** How long the pipe of an ended process may stay open in a child of its own. */
const TAIL_GRACE = 250;

/** A process this one started, with its process group. */
export function childProcess(process: StartedProcess, tee: StderrTee): SuccessorProcess {
  return {
    pid: process.pid,
    exited: process.exited,
    async stderrTail(): Promise<string> {
      await settlesWithin(tee.ended(), TAIL_GRACE);
      return tee.tail;
    },
    async stop({ grace = STOP_GRACE } = {}): Promise<void> {
      await stopBy((signal) => process.kill(signal), process.exited, grace);
    },
    release: () => process.unref(),
  };
}

/** A process that dialled in. Owns the pidfd; without one it can be neither watched nor stopped. */
export function foreignProcess(pid: number, pidfd: number | undefined): SuccessorProcess {
  if (pidfd === undefined) return unreachableProcess(pid);
  let poller: Poller | undefined;
  const release = (): void => {
    if (!poller) return;
    poller.close();
    poller = undefined;
    closeFd(pidfd);
  };
  const exited = new Promise<undefined>((resolve) => {
    const opened = native().openPoller(pidfd, () => {
      release();
      resolve(undefined);
    });
    // A pidfd cannot be refused by epoll: it was made to be polled (pidfd_open(2)).
    poller = opened as Poller;
    poller.start(READABLE);
    poller.unref();
  });
  return {
    pid,
    exited,
    stderrTail: async () => '',
    async stop({ grace = STOP_GRACE } = {}): Promise<void> {
      const kill = (signal: 'SIGTERM' | 'SIGKILL'): boolean =>
        poller !== undefined && native().pidfdSignal(pidfd, constants.signals[signal]) === 0;
      await stopBy(kill, exited, grace);
    },
    release,
  };
}

function unreachableProcess(pid: number): SuccessorProcess {
  const exited = Promise.resolve(undefined);
  return { pid, exited, stderrTail: async () => '', stop: async () => {}, release: () => {} };
}

/** Nobody is waited for that no signal reaches: it is gone, or in a namespace that is closed to us. */
async function stopBy(
  kill: (signal: 'SIGTERM' | 'SIGKILL') => boolean,
  exited: Promise<unknown>,
  grace: number,
): Promise<void> {
  if (grace > 0) {
    if (!kill('SIGTERM')) return;
    if (await settlesWithin(exited, grace)) return;
  }
  if (kill('SIGKILL')) await exited;
}
