// What a slot asks of the supervisor, and what it is asked for.
import type { Release } from './program.js';
import type { Slot } from './slot.js';
import type { WorkerStart } from './worker.js';

/** What a slot asks of the supervisor. */
export interface SlotHost {
  /** How to start a worker of this slot. */
  workerStart(slot: Slot, release: Release): Omit<WorkerStart, 'channel' | 'onChange'>;
  /**
   * Milliseconds a worker that says nothing must live to count as serving. One that gets no listener from here can only be
   * told from one that is still loading by its patience.
   */
  readonly foreignAfter: number;
  /** Releases of which a worker has said that it knows what a handover is: another one that says nothing still loads. */
  readonly greeters: WeakSet<Release>;
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  /** A worker has said something, or ended. */
  onChange(): void;
  /** Something happened that an operator wants to read. */
  report(line: string): void;
}

export interface ReplaceOptions {
  /** Milliseconds until the successor must be in charge. */
  readonly progressDeadline: number;
  /** Milliseconds it is watched after that. */
  readonly settle: number;
}
