// A reserve of descriptors, with which a handover still works in a process that has used up its RLIMIT_NOFILE.
import { openSync } from 'node:fs';
import { closeFds } from '../fd/index.js';
import { freeDescriptors } from '../fd/room.js';

/** Enough for the socketpair, the stderr pipe, the descriptors of spawn itself, and copies of a few listeners on an abort. */
const RESERVED_FDS = 12;

export class DescriptorReserve {
  #fds: number[] = [];

  /** Free descriptors beyond the reserve; undefined where they cannot be counted. */
  get room(): number | undefined {
    const free = freeDescriptors();
    return free === undefined ? undefined : Math.max(0, free - (RESERVED_FDS - this.#fds.length));
  }

  /** Fills the reserve as far as descriptors are free. */
  hold(): void {
    try {
      while (this.#fds.length < RESERVED_FDS) this.#fds.push(openSync('/dev/null', 'r'));
    } catch {
      // The table is full: the part of the reserve there is must do. The next handover tries again.
    }
  }

  /** Frees the reserve while `use` runs synchronously: in a later turn of the loop new connections would take it. */
  lend<T>(use: () => T): T {
    this.release();
    try {
      return use();
    } finally {
      this.hold();
    }
  }

  /** Frees the reserve until the next `hold()`. */
  release(): void {
    closeFds(this.#fds.splice(0));
  }
}
