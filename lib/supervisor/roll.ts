// One replacement of all workers, a few at a time. One that goes wrong pauses, with the old workers serving, until somebody
// says whether it goes on or back.
import type { Params } from '../channel/rpc.js';
import { HandoverError } from '../errors.js';
import { sleep } from '../handover/deadline.js';
import type { Release } from './program.js';
import type { Slot } from './slot.js';

export interface RollOptions {
  /** Workers replaced at a time. */
  readonly maxSurge: number;
  /** Milliseconds one replacement may take. */
  readonly progressDeadline: number;
  /** Milliseconds a new worker is watched before the next one is replaced. */
  readonly settle: number;
}

interface Replaced {
  readonly slot: Slot;
  readonly former: Release;
  readonly outcome: Params;
}

export class Roll {
  readonly #release: Release;
  readonly #options: RollOptions;
  readonly #onProgress: (progress: Params) => void;
  #waiting: readonly Slot[];
  #replaced: readonly Replaced[] = [];
  #state: 'running' | 'paused' | 'done' | 'rolled back' = 'running';
  #reason: string | undefined;

  constructor(slots: readonly Slot[], release: Release, options: RollOptions, onProgress: (progress: Params) => void) {
    this.#waiting = slots;
    this.#release = release;
    this.#options = options;
    this.#onProgress = onProgress;
  }

  get isOver(): boolean {
    return this.#state === 'done' || this.#state === 'rolled back';
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

  /** Goes on with those that wait. Resolves with what became of each. @throws the error it pauses with */
  async run(): Promise<readonly Params[]> {
    this.#state = 'running';
    this.#reason = undefined;
    try {
      while (this.#waiting.length > 0) await this.#replaceNext();
    } catch (error) {
      this.#state = 'paused';
      this.#reason = (error as Error).message;
      throw error;
    }
    this.#state = 'done';
    return this.#replaced.map(({ outcome }) => outcome);
  }

  /** Puts the workers replaced so far back to the release they had. @throws the error it pauses with */
  async rollBack(): Promise<readonly Params[]> {
    this.#state = 'running';
    const outcomes: Params[] = [];
    try {
      for (const { slot, former } of [...this.#replaced].reverse()) {
        outcomes.push(await this.#replace(slot, former));
        this.#replaced = this.#replaced.filter((other) => other.slot !== slot);
      }
    } catch (error) {
      this.#state = 'paused';
      this.#reason = (error as Error).message;
      throw error;
    }
    this.#state = 'rolled back';
    return outcomes;
  }

  async #replaceNext(): Promise<void> {
    const batch = this.#waiting.slice(0, this.#options.maxSurge);
    const formers = batch.map(({ release }) => release);
    const results = await Promise.allSettled(batch.map((slot) => this.#replace(slot, this.#release)));
    for (const [i, result] of results.entries()) {
      const [slot, former] = [batch[i], formers[i]];
      if (result.status !== 'fulfilled' || !slot || !former) continue;
      this.#replaced = [...this.#replaced, { slot, former, outcome: result.value }];
      this.#waiting = this.#waiting.filter((other) => other !== slot);
    }
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async #replace(slot: Slot, release: Release): Promise<Params> {
    const start = performance.now();
    const { progressDeadline, settle } = this.#options;
    const outcome = await within(progressDeadline, slot, slot.replace(release));
    const pid = slot.current?.pid;
    if (settle > 0) await sleep(settle);
    if (slot.current?.pid !== pid || slot.current?.hasEnded) {
      const message = `worker ${slot.index} (pid ${pid}) ended within ${settle} ms after it was put in charge`;
      throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, { phase: 'DRAIN' });
    }
    const result = { slot: slot.index, ...outcome, ms: Math.round(performance.now() - start) };
    this.#onProgress(result);
    return result;
  }
}

async function within<T>(deadline: number, { index }: Slot, replaced: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `worker ${index} was not replaced within ${deadline} ms (--progress-deadline)`;
      reject(new HandoverError('ERR_HANDOVER_TIMEOUT', message));
    }, deadline);
  });
  try {
    return await Promise.race([replaced, late]);
  } finally {
    clearTimeout(timer);
  }
}
