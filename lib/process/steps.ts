// The named steps of a start: each runs when the steps it waits for are done; independent steps run side by side.
import { typeError } from '../errors.js';
import { publish } from '../events.js';
import { expectOptions, expectString } from '../fd/arguments.js';
import { RESERVED } from '../resources/ledger.js';

export interface StepOptions {
  /** Names of earlier steps that must be done first. */
  readonly after?: string | readonly string[];
}

export class Steps {
  readonly #steps = new Map<string, Promise<unknown>>();

  /**
   * Runs `work` once the steps in `after` are done. If one of these fails, `work` does not run, and the promise rejects
   * with that error. Rejects with a TypeError if the name is taken, or if no step has a name in `after`.
   */
  run<T>(name: string, work: () => T | Promise<T>, options: StepOptions = {}): Promise<T> {
    try {
      const step = this.#start(name, work, this.#check(name, work, options));
      this.#steps.set(name, step);
      // The stored promise itself, not a copy: when the caller handles its rejection, no other promise is left unhandled.
      return step;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Waits for all steps, then runs `warmup`. @throws the error of the first step that failed */
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

/** Name under which the option `warmup` is published as a step. */
const WARMUP = `${RESERVED}warmup`;
