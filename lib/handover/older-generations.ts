// The older generations that still drain, by the predecessor's last report.
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

  /** Called at COMMIT, when the predecessor begins to drain. */
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

  /** The generations with their present ages. */
  get now(): readonly DrainingGeneration[] {
    const since = Math.round(this.#clock.now() - this.#reportedAt);
    return this.#draining.map((older) => ({ ...older, age: older.age + since }));
  }
}
