// What the predecessor knows of its successor's life: the last heartbeat, and that one is missing.

import type { Clock } from '../protocol/clock.js';
import { Deferred } from '../protocol/deferred.js';
import type { Heartbeat } from '../protocol/frames.js';
import { HeartbeatWatch } from './heartbeat.js';

export class Pulse {
  /** Connections it owns, as it last said. */
  #connections: number | undefined;
  /** Of those moved to it, how many it knew of then. */
  #adopted = 0;
  /** It has shown no sign of life for longer than allowed. */
  isSilent = false;
  readonly #clock: Clock;
  readonly #onFailure: (message: string) => void;
  #watch: HeartbeatWatch | undefined;
  #next = new Deferred<void>();

  /** `onFailure` is told of a silence, and of an app that says it is not well. */
  constructor(clock: Clock, onFailure: (message: string) => void) {
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** From now on a silence of `stall` ms is a failure. */
  watch(stall: number): void {
    if (this.#watch) this.#watch.allow(stall);
    else this.#watch = new HeartbeatWatch(this.#clock, stall, (silence) => this.#onStall(silence));
  }

  /** Resolves with the next heartbeat; at once where none is waited for, because the peer sends none. */
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

  /** Connections it owns now that it has been given so many; undefined where it never said, and has none of us. */
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
