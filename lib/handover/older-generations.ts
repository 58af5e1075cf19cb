// The generations before this one that still drain, as the predecessor last said.
import type { Clock } from '../protocol/clock.js';
import type { DrainingGeneration, Heartbeat, Hello } from '../protocol/frames.js';

export class OlderGenerations {
  readonly #clock: Clock;
  #predecessor: Hello | undefined;
  #draining: readonly DrainingGeneration[] = [];
  #committedAt = 0;
  #reportedAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** It begins to drain. */
  committed(predecessor: Hello | undefined): void {
    this.#predecessor = predecessor;
    this.#committedAt = this.#clock.now();
    this.heard({});
  }

  heard({ connections = 0, draining = [] }: Heartbeat): void {
    const { generation = 0, pid = 0, startTime } = this.#predecessor ?? {};
    this.#reportedAt = this.#clock.now();
    const age = Math.round(this.#reportedAt - this.#committedAt);
    this.#draining = [{ generation, pid, startTime, age, connections }, ...draining];
  }

  /** With their ages as they are by now. */
  get now(): readonly DrainingGeneration[] {
    const since = Math.round(this.#clock.now() - this.#reportedAt);
    return this.#draining.map((older) => ({ ...older, age: older.age + since }));
  }
}
