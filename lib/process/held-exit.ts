// Holds `process.exit()`, and signals that the process sends to itself, until the process has drained. Apps and libraries
// end the process when they have ended their own part, and do not know that the connections of other parts still drain.
import { AsyncLocalStorage } from 'node:async_hooks';
import { constants } from 'node:os';

/** How the app asked for the end of the process: by an exit code, or by a signal to itself. */
export type Wish = { readonly code: string | number | null | undefined } | { readonly signal: NodeJS.Signals };

/** Signals that end a process without a listener; code that handled one often sends it to its own process afterwards. */
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

  /** From now on only `exit()` and `raise()` of this object end the process. */
  begin(): void {
    this.#ending ??= {};
    this.#install();
  }

  /** Called when the process serves on: ignores later requests for the end from code that `run` has called. */
  recall(): void {
    this.#ending = undefined;
    this.#wish = undefined;
  }

  /** Calls `call` in the asynchronous context of the present end, by which later requests are told apart. */
  run<T>(call: () => T): T {
    return this.#ending ? this.#endings.run(this.#ending, call) : call();
  }

  /**
   * Calls back when the app asks for the end, or at once if it has asked. The first request counts, because it would have
   * ended the process.
   */
  onWish(callback: (wish: Wish) => void): void {
    this.#onWish = callback;
    if (this.#wish) callback(this.#wish);
  }

  /** Whether the app itself has sent this signal, for other listeners of its own; the next call returns false. */
  takeRaised(signal: NodeJS.Signals): boolean {
    return this.#raised.delete(signal);
  }

  /** Ends the process now. */
  exit(code?: string | number | null): never {
    this.#hasEnded = true;
    return this.#exit(code);
  }

  /** Ends the process now by a signal without a listener. */
  raise(signal: NodeJS.Signals): void {
    this.#kill(process.pid, signal);
    // The kernel does not deliver such a signal to the first process of a pid namespace (pid_namespaces(7)).
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

  /** Whether the caller belongs to an end that was recalled: its request must not end the process that serves on. */
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

/** Milliseconds for a raised signal to end the process. */
const RAISE_GRACE = 100;
