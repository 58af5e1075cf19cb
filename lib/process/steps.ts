// The named steps of a start: each runs when those it waits for are done, independent ones side by side.
import { typeError } from '../errors.js';
import { publish } from '../events.js';
import { expectOptions, expectString } from '../fd/arguments.js';
import { RESERVED } from '../resources/ledger.js';

export interface StepOptions {
  /** Names of steps, declared before, that must be done. */
  readonly after?: string | readonly string[];
}

export class Steps {
  readonly #steps = new Map<string, Promise<unknown>>();

  /**
   * Runs `work` once the steps it names are done. Where one of these fails, it never runs, and rejects with that error.
   * Rejects with a TypeError for a name that is taken, or one in `after` that no step has
   */
  run<T>(name: string, work: () => T | Promise<T>, options: StepOptions = {}): Promise<T> {
    try {
      const step = this.#start(name, work, this.#check(name, work, options));
      this.#steps.set(name, step);
      // This very promise, not one of its own: whoever waits for the step has then heard of its failure.
      return step;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Waits for all of them, then for `warmup`. @throws what the first that failed threw */
  async finish(warmup: (() => unknown) | undefined): Promise<void> {
    for (let done = -1; done < this.#steps.size; ) {
      done = this.#steps.size;
      await Promise.all(this.#steps.values());
    }
    if (warmup) await this.#start(WARMUP, warmup, [...this.#steps.keys()]);
  }

  #check(name: string, work: unknown, options: StepOptions): readonly string[] {
    if (expectString('name', name).startsWith(RESERVED)) {
      throw typeError('name', `a name that does not begin with ${RESERVED}`, name);
    }
    if (this.#steps.has(name)) throw typeError('name', 'one that no other step has', name);
    if (typeof work !== 'function') throw typeError('run', 'a function', work);
    const { after = [] } = expectOptions('options', options, ['after']) as StepOptions;
    const names = typeof after === 'string' ? [after] : after;
    if (!Array.isArray(names)) throw typeError('options.after', 'a name or a list of names', after);
    for (const other of names as readonly unknown[]) {
      if (!this.#steps.has(expectString('options.after', other))) {
        throw typeError('options.after', 'the name of a step declared before', other);
      }
    }
    return [...(names as readonly string[])];
  }

  async #start<T>(name: string, work: () => T | Promise<T>, after: readonly string[]): Promise<T> {
    await Promise.all(after.map((other) => this.#steps.get(other)));
    const start = performance.now();
    let hasFailed = true;
    try {
      const result = await work();
      hasFailed = false;
      return result;
    } finally {
      const startedAt = performance.timeOrigin + start;
      publish('step', { name, after, startedAt, durationMs: performance.now() - start, hasFailed });
    }
  }
}

/** The option `warmup`, as a step. */
const WARMUP = `${RESERVED}warmup`;
