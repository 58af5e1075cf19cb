// A process held by its pidfd: signalled and watched without the danger that its number is another's by now.
import { constants } from 'node:os';
import { hasCode } from '../errors.js';
import { native, type Poller, READABLE } from './native.js';
import { hasEnded, processStat, readProcessStat } from './proc.js';

export class Pidfd {
  /** Resolves when the process has ended; only its parent learns how (pidfd_open(2)). */
  readonly exited: Promise<undefined>;
  readonly #fd: number;
  #poller: Poller | undefined;

  /** Owns the descriptor, and gives it back by itself when the process has ended. */
  constructor(fd: number) {
    this.#fd = fd;
    this.exited = new Promise((resolve) => {
      const poller = native().openPoller(fd, () => {
        this.close();
        resolve(undefined);
      });
      if (typeof poller === 'number') return;
      this.#poller = poller;
      poller.start(READABLE);
      poller.unref();
    });
  }

  /** The process with this number and start time; undefined where it is gone, or the kernel has no pidfds. */
  static open(pid: number, startTime: string): Pidfd | undefined {
    const fd = native().pidfdOpen(pid);
    if (fd < 0) return undefined;
    const pidfd = new Pidfd(fd);
    // Looked at while the descriptor is held: a number given anew since then has another start time.
    if (processStartTime(pid) === startTime) return pidfd;
    pidfd.close();
    return undefined;
  }

  /** False: it has ended, or lives in a pid namespace that is closed to this one. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): boolean {
    return this.#poller !== undefined && native().pidfdSignal(this.#fd, constants.signals[signal]) === 0;
  }

  close(): void {
    if (!this.#poller) return;
    this.#poller.close();
    this.#poller = undefined;
    native().close(this.#fd);
  }
}

/** A pidfd, close-on-exec and the caller's; undefined where the process is gone or the kernel has none (pidfd_open(2)). */
export function openPidfd(pid: number): number | undefined {
  const fd = native().pidfdOpen(pid);
  return fd < 0 ? undefined : fd;
}

/** Reaps an ended child of which Node knows nothing; false: the process has not ended, or is no child (waitpid(2)). */
export function reapChild(pid: number): boolean {
  return native().reap(pid) > 0;
}

/** Whether the kernel says that this process has ended, reaped or not; false where it cannot be seen. */
export function hasProcessEnded(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    return hasEnded(readProcessStat(pid));
  } catch (error) {
    // Without a /proc nothing is known.
    return hasCode(error, 'ENOENT') && processStartTime('self') !== undefined;
  }
}

/** Clock ticks from boot to the start of a process; undefined where there is no /proc (proc_pid_stat(5)). */
export function processStartTime(pid: number | 'self'): string | undefined {
  return processStat(pid)?.startTime;
}

/** The inode of a pidfd, which is the process' own as long as it lives; undefined where the kernel has no pidfds. */
export function pidfdInode(pid: number): bigint | undefined {
  const fd = native().pidfdOpen(pid);
  if (fd < 0) return undefined;
  const description = native().describe(fd);
  native().close(fd);
  return typeof description === 'number' ? undefined : description.ino;
}
