// When each phase of one handover began and how long it took.
import type { Phase, PhaseTimes } from '../events.js';

export type PhaseRecord = PhaseTimes;

export class PhaseLog {
  readonly #ended: PhaseRecord[] = [];
  #open: { readonly name: Phase; readonly startedAt: number; readonly start: number } | undefined;

  /** The phase going on, or the last one. */
  get current(): Phase | undefined {
    return this.#open?.name ?? this.#ended.at(-1)?.name;
  }

  /** Begins a phase and so ends the one before. False: it is the one going on. */
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

  /** These, and the one going on as if it ended now. */
  get soFar(): readonly PhaseRecord[] {
    return [...this.#ended, ...this.#going];
  }

  get #going(): readonly PhaseRecord[] {
    if (!this.#open) return [];
    const { name, startedAt, start } = this.#open;
    return [{ name, startedAt, durationMs: performance.now() - start }];
  }
}
