// A few descriptors kept aside, so that a handover still works in a process that has used up its RLIMIT_NOFILE.
import { openSync } from 'node:fs';
import { closeFds } from '../fd/index.js';
import { freeDescriptors } from '../fd/room.js';

/** The socketpair, the stderr pipe, what spawn opens for itself, and a new copy of a few listeners on the way back. */
const RESERVED_FDS = 12;

export class DescriptorReserve {
  #fds: number[] = [];

  /** Descriptors there are beyond the reserve; undefined where they cannot be counted. */
  get room(): number | undefined {
    const free = freeDescriptors();
    return free === undefined ? undefined : Math.max(0, free - (RESERVED_FDS - this.#fds.length));
  }

  /** Takes as many as there are, up to the reserve. */
  hold(): void {
    try {
      while (this.#fds.length < RESERVED_FDS) this.#fds.push(openSync('/dev/null', 'r'));
    } catch {
      // The table is full: what is there must do, and it is tried again after the next handover.
    }
  }

  /** Gives them up for as long as `use` runs before it first waits: whoever connects meanwhile would take them. */
  lend<T>(use: () => T): T {
    this.release();
    try {
      return use();
    } finally {
      this.hold();
    }
  }

  /** Gives them up for what comes next. */
  release(): void {
    closeFds(this.#fds.splice(0));
  }
}
