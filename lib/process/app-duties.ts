// Work of the app that depends on the state of this process: duties, which run only in the process in charge; work that
// must end before the exit; and close hooks, which run after the last request.

import { toError } from '../errors.js';
import { publish } from '../events.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { DUTY_GRACE } from '../protocol/timeouts.js';

interface CloseHook {
  readonly name: string;
  readonly run: () => unknown;
  readonly timeout: number;
  /** Name of a hook that runs before this one, whatever the order of declaration. */
  readonly after: string | undefined;
}

/** Makes the app end its own part when this process drains. */
export interface AppEnding {
  /** Called when this process begins to drain. Returns whether the app has begun to end. */
  begin(): boolean;
  /** Called when the drain is over because this process serves on. */
  recalled(): void;
}

export type Duty = (signal: AbortSignal) => unknown;

export class AppDuties {
  readonly #clock: Clock;
  readonly #hooks: CloseHook[] = [];
  readonly #duties: Duty[] = [];
  readonly #pending = new Set<Promise<unknown>>();
  #running: Promise<unknown>[] = [];
  #charge: AbortController | undefined;
  #appEnding: AppEnding | undefined;
  #isDraining = false;
  #isAppEnding = false;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Sets what makes the app end at the beginning of each drain. */
  endAppBy(appEnding: AppEnding): void {
    this.#appEnding = appEnding;
  }

  /** Whether the app has begun to end in the present drain. */
  get isAppEnding(): boolean {
    return this.#isAppEnding;
  }

  /** Makes the app end, once for each drain: further calls do nothing. */
  beginDrain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#isAppEnding = this.#appEnding?.begin() ?? false;
  }

  recallDrain(): void {
    this.#isDraining = false;
    this.#isAppEnding = false;
    this.#appEnding?.recalled();
  }

  addHook(hook: CloseHook): void {
    this.#hooks.push(hook);
  }

  /** Runs `duty` at once if this process is in charge, and each time that it takes charge. */
  addDuty(duty: Duty): void {
    this.#duties.push(duty);
    if (this.#charge) this.#start(duty, this.#charge.signal);
  }

  /** Makes the exit wait until `work` has settled. */
  addWork(work: Promise<unknown>): void {
    const settled = work.then(
      () => {},
      () => {},
    );
    this.#pending.add(settled);
    void settled.then(() => this.#pending.delete(settled));
  }

  takeCharge(): void {
    if (this.#charge) return;
    this.#charge = new AbortController();
    for (const duty of this.#duties) this.#start(duty, this.#charge.signal);
  }

  /** Aborts every duty, and waits up to `DUTY_GRACE` ms for the running ones to end. */
  async giveUpCharge(): Promise<void> {
    this.#charge?.abort();
    this.#charge = undefined;
    await settlesWithin(Promise.all(this.#running.splice(0)), DUTY_GRACE, this.#clock);
  }

  /** Resolves when the work given to `addWork` has settled, including work that is added meanwhile. */
  async worked(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Runs each close hook once, in order. A hook that fails or exceeds its timeout is published, and the next one runs. */
  async runHooks(): Promise<void> {
    for (const { name, run, timeout } of inOrder(this.#hooks.splice(0))) {
      try {
        const isInTime = await settlesWithin((async () => run())(), timeout, this.#clock);
        if (!isInTime) throw new Error(`the close hook "${name}" did not end within ${timeout} ms`);
      } catch (error) {
        publishFailure(name, error);
      }
    }
  }

  #start(duty: Duty, signal: AbortSignal): void {
    const run = async (): Promise<unknown> => duty(signal);
    const running = run().catch((error: unknown) => {
      // A duty that was aborted may reject because of that: no failure.
      if (!signal.aborted) publishFailure('whenInCharge', error);
    });
    this.#running.push(running);
    void running.then(() => {
      this.#running = this.#running.filter((other) => other !== running);
    });
  }
}

function publishFailure(name: string, error: unknown): void {
  publish('hook-failed', { name, error: toError(error) });
}

/** Sorts the hooks by declaration, but puts each after the hook that its `after` names. */
function inOrder(hooks: readonly CloseHook[]): CloseHook[] {
  const ordered: CloseHook[] = [];
  const add = (hook: CloseHook, waiting: readonly string[]): void => {
    if (ordered.includes(hook) || waiting.includes(hook.name)) return;
    for (const other of hooks) if (other.name === hook.after) add(other, [...waiting, hook.name]);
    ordered.push(hook);
  };
  for (const hook of hooks) add(hook, []);
  return ordered;
}
