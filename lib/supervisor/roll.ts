// One replacement of all workers, a few at a time. A failed step pauses the roll, with the old workers serving, until the
// operator resumes it or rolls it back.
import type { Params } from '../protocol/rpc.js';
import type { Release } from './program.js';
import type { ReplaceOptions, Slot } from './slot.js';

export interface RollOptions extends ReplaceOptions {
  /** Workers replaced at a time. */
  readonly maxSurge: number;
}

interface Replaced {
  readonly slot: Slot;
  readonly former: Release;
  readonly outcome: Params;
}

export class Roll {
  readonly release: Release;
  readonly #options: RollOptions;
  readonly #onProgress: (progress: Params) => void;
  #waiting: readonly Slot[];
  #replaced: readonly Replaced[] = [];
  #state: 'running' | 'paused' | 'done' | 'rolled back' = 'running';
  #reason: string | undefined;

  constructor(slots: readonly Slot[], release: Release, options: RollOptions, onProgress: (progress: Params) => void) {
    this.#waiting = slots;
    this.release = release;
    this.#options = options;
    this.#onProgress = onProgress;
  }

  get isDone(): boolean {
    return this.#state === 'done';
  }

  get isPaused(): boolean {
    return this.#state === 'paused';
  }

  get isRunning(): boolean {
    return this.#state === 'running';
  }

  get status(): Params {
    const indexOf = ({ index }: Slot): number => index;
    return {
      state: this.#state,
      replaced: this.#replaced.map(({ slot }) => slot.index),
      waiting: this.#waiting.map(indexOf),
      ...(this.#reason !== undefined && { reason: this.#reason }),
    };
  }

  /** Adds workers that were started while the roll was paused. */
  add(slots: readonly Slot[]): void {
    this.#waiting = [...this.#waiting, ...slots];
  }

  /** Replaces the waiting workers. Resolves with the outcome of each. @throws the error it pauses with */
  async run(): Promise<readonly Params[]> {
    await this.#pausing(async () => {
      while (this.#waiting.length > 0) await this.#replaceNext();
    });
    this.#state = 'done';
    return this.#replaced.map(({ outcome }) => outcome);
  }

  /** Puts the workers replaced so far back to the release they had. @throws the error it pauses with */
  async rollBack(): Promise<readonly Params[]> {
    const outcomes: Params[] = [];
    await this.#pausing(async () => {
      for (const { slot, former } of [...this.#replaced].reverse()) {
        if (!slot.isStopping) outcomes.push(await this.#replace(slot, former));
        this.#replaced = this.#replaced.filter((other) => other.slot !== slot);
        this.#waiting = [slot, ...this.#waiting];
      }
    });
    this.#state = 'rolled back';
    return outcomes;
  }

  async #pausing(steps: () => Promise<void>): Promise<void> {
    this.#state = 'running';
    this.#reason = undefined;
    try {
      await steps();
    } catch (error) {
      this.#state = 'paused';
      this.#reason = (error as Error).message;
      throw error;
    }
  }

  async #replaceNext(): Promise<void> {
    this.#waiting = this.#waiting.filter(({ isStopping }) => !isStopping);
    const batch = this.#waiting.slice(0, this.#options.maxSurge);
    const results = await Promise.allSettled(batch.map((slot) => this.#advance(slot)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async #advance(slot: Slot): Promise<void> {
    const former = slot.release;
    const outcome = await this.#replace(slot, this.release);
    this.#replaced = [...this.#replaced, { slot, former, outcome }];
    this.#waiting = this.#waiting.filter((other) => other !== slot);
  }

  async #replace(slot: Slot, release: Release): Promise<Params> {
    const start = performance.now();
    const outcome = await slot.replace(release, this.#options);
    const result = { slot: slot.index, ...outcome, ms: Math.round(performance.now() - start) };
    this.#onProgress(result);
    return result;
  }
}
