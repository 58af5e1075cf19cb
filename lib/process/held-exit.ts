// `process.exit()`, and the signals a process sends to itself, while it drains: what would end it waits until it has.
// Apps and libraries end the process when they have ended their own part, and know nothing of the connections of others.
import { AsyncLocalStorage } from 'node:async_hooks';
import { constants } from 'node:os';

/** How the app has asked for the end. */
export type Wish = { readonly code: string | number | null | undefined } | { readonly signal: NodeJS.Signals };

/** End a process that does not listen to them, and are sent to itself by who has listened to them. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'];

export class HeldExit {
  readonly #exit: typeof process.exit = process.exit.bind(process);
  readonly #kill: typeof process.kill = process.kill.bind(process);
  readonly #isHeard: (signal: NodeJS.Signals) => boolean;
  readonly #endings = new AsyncLocalStorage<object>();
  readonly #raised = new Set<NodeJS.Signals>();
  #ending: object | undefined;
  #isInstalled = false;
  #hasEnded = false;
  #wish: Wish | undefined;
  #onWish: ((wish: Wish) => void) | undefined;

  /** `isHeard`: whether the app listens to a signal. */
  constructor(isHeard: (signal: NodeJS.Signals) => boolean) {
    this.#isHeard = isHeard;
  }

  get isHolding(): boolean {
    return this.#ending !== undefined;
  }

  /** From here on nothing but `exit` and `raise` ends the process. */
  begin(): void {
    this.#ending ??= {};
    this.#install();
  }

  /** The process serves on. What `run` has called, and has yet to ask for the end, is not heard any more. */
  recall(): void {
    this.#ending = undefined;
    this.#wish = undefined;
  }

  /** Calls what belongs to this end. */
  run<T>(call: () => T): T {
    return this.#ending ? this.#endings.run(this.#ending, call) : call();
  }

  /** Calls back when the app asks for the end, or now if it has: the first word counts, because nothing follows it in Node. */
  onWish(callback: (wish: Wish) => void): void {
    this.#onWish = callback;
    if (this.#wish) callback(this.#wish);
  }

  /** Whether the app has sent this signal to its own process, to be heard by others of its listeners. */
  takeRaised(signal: NodeJS.Signals): boolean {
    return this.#raised.delete(signal);
  }

  /** Ends the process now. */
  exit(code?: string | number | null): never {
    this.#hasEnded = true;
    return this.#exit(code);
  }

  /** Ends the process now by a signal that nobody listens to. */
  raise(signal: NodeJS.Signals): void {
    this.#kill(process.pid, signal);
    // The kernel keeps the first process of a pid namespace from it.
    setTimeout(() => this.exit(128 + constants.signals[signal]), RAISE_GRACE);
  }

  #install(): void {
    if (this.#isInstalled) return;
    this.#isInstalled = true;
    process.exit = ((code?: string | number | null) => {
      if (!this.#isHeld) return this.exit(code);
      this.#hear({ code: code ?? process.exitCode });
      return undefined;
    }) as typeof process.exit;
    process.kill = (pid: number, signal: string | number = 'SIGTERM'): true => {
      const ending = ENDING.find((name) => name === signal || constants.signals[name] === signal);
      if (pid !== process.pid || ending === undefined || !this.#isHeld) return this.#kill(pid, signal);
      if (!this.#isHeard(ending)) this.#hear({ signal: ending });
      else if (this.#ending) {
        this.#raised.add(ending);
        this.#kill(pid, signal);
      }
      return true;
    };
  }

  get #isHeld(): boolean {
    return !this.#hasEnded && (this.#ending !== undefined || this.#isStale);
  }

  /** Called by what belongs to an end that was recalled: its word must not end the process that serves on. */
  get #isStale(): boolean {
    const ending = this.#endings.getStore();
    return ending !== undefined && ending !== this.#ending;
  }

  #hear(wish: Wish): void {
    if (this.#isStale || this.#wish) return;
    this.#wish = wish;
    this.#onWish?.(wish);
  }
}

/** How long a signal may take. */
const RAISE_GRACE = 100;
