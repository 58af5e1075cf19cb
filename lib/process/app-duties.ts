// What the app ties to this process' turn: work that only the one in charge does, work that must end before the exit,
// and what is closed after the last request.

import { toError } from '../errors.js';
import { publish } from '../events.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { DUTY_GRACE } from '../protocol/timeouts.js';

interface CloseHook {
  readonly name: string;
  readonly run: () => unknown;
  readonly timeout: number;
  /** Runs after this hook, whatever the order of declaration. */
  readonly after: string | undefined;
}

/** Has the app end its part when this process drains. */
export interface AppEnding {
  /** This process drains. Whether the app has begun to end. */
  begin(): boolean;
  /** The drain is over, and this process serves on. */
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

  /** Asked at the beginning of each drain. */
  endAppBy(appEnding: AppEnding): void {
    this.#appEnding = appEnding;
  }

  /** Whether the app has begun to end since this process drains. */
  get isAppEnding(): boolean {
    return this.#isAppEnding;
  }

  /** Once for each drain, however often it is called. */
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

  /** Runs `duty` now if this process is in charge, and whenever it comes to be. */
  addDuty(duty: Duty): void {
    this.#duties.push(duty);
    if (this.#charge) this.#start(duty, this.#charge.signal);
  }

  /** The exit waits for it. */
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

  /** Aborts every duty, and gives those that are still at it a moment to end. */
  async giveUpCharge(): Promise<void> {
    this.#charge?.abort();
    this.#charge = undefined;
    await settlesWithin(Promise.all(this.#running.splice(0)), DUTY_GRACE, this.#clock);
  }

  /** Resolves when the work handed to `addWork` is done, also what is added meanwhile. */
  async worked(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Runs the close hooks, once. One that fails or hangs is published and passed over. */
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
      // What it was told to stop may well reject for that.
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

/** Declared order, but each behind the one it names with `after`. */
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
