// The phases of one handover, with their starts and durations.
import type { Phase, PhaseTimes } from '../events.js';

export type PhaseRecord = PhaseTimes;

export class PhaseLog {
  readonly #ended: PhaseRecord[] = [];
  #open: { readonly name: Phase; readonly startedAt: number; readonly start: number } | undefined;

  /** The present phase, or the last one. */
  get current(): Phase | undefined {
    return this.#open?.name ?? this.#ended.at(-1)?.name;
  }

  /** Begins a phase, and ends the one before. False: the phase has begun already. */
  enter(name: Phase): boolean {
    if (this.#open?.name === name) return false;
    this.end();
    this.#open = { name, startedAt: Date.now(), start: performance.now() };
    return true;
  }

  end(): void {
    this.#ended.push(...this.#going);
    this.#open = undefined;
  }

  /** The phases that have ended. */
  get records(): readonly PhaseRecord[] {
    return [...this.#ended];
  }

  /** The phases that have ended, and the present one as if it ended now. */
  get soFar(): readonly PhaseRecord[] {
    return [...this.#ended, ...this.#going];
  }

  get #going(): readonly PhaseRecord[] {
    if (!this.#open) return [];
    const { name, startedAt, start } = this.#open;
    return [{ name, startedAt, durationMs: performance.now() - start }];
  }
}
