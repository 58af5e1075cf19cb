// The successor's heartbeats in the predecessor: the last one, and whether one is missing.

import type { Clock } from '../protocol/clock.js';
import { Deferred } from '../protocol/deferred.js';
import type { Heartbeat } from '../protocol/frames.js';
import { HeartbeatWatch } from './heartbeat.js';

export class Pulse {
  /** Connections of the successor, by its last heartbeat. */
  #connections: number | undefined;
  /** Number of the migrated connections that this heartbeat includes. */
  #adopted = 0;
  /** Whether the successor was silent for longer than allowed. */
  isSilent = false;
  readonly #clock: Clock;
  readonly #onFailure: (message: string) => void;
  #watch: HeartbeatWatch | undefined;
  #next = new Deferred<void>();

  /** `onFailure` is called at a silence, and at a failed health check of the successor. */
  constructor(clock: Clock, onFailure: (message: string) => void) {
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** From now on a silence of `stall` ms is a failure. */
  watch(stall: number): void {
    if (this.#watch) this.#watch.allow(stall);
    else this.#watch = new HeartbeatWatch(this.#clock, stall, (silence) => this.#onStall(silence));
  }

  /** Resolves at the next heartbeat, or at once if the peer sends none. */
  async next(): Promise<void> {
    if (!this.#watch) return;
    this.#next = new Deferred();
    await this.#next.promise;
  }

  beat({ healthy, connections, adopted }: Heartbeat): void {
    this.#adopted = adopted ?? this.#adopted;
    this.#connections = connections ?? this.#connections;
    this.#watch?.beat();
    this.#next.resolve();
    if (healthy === false) this.#onFailure('the health check of the successor failed');
  }

  /**
   * Connections that the successor owns when `given` have migrated to it; undefined if it never reported any and none have
   * migrated.
   */
  owned(given: number): number | undefined {
    return given > this.#adopted ? (this.#connections ?? 0) + given - this.#adopted : this.#connections;
  }

  stop(): void {
    this.#watch?.stop();
  }

  #onStall(silence: number): void {
    this.isSilent = true;
    this.#onFailure(`the successor sent no heartbeat for ${silence} ms`);
  }
}
