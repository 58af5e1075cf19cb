// The signals of a server's process: it hands over, drains and ends by them. serve.ts ends the process by this file, too.
// Until the process listens, `handover/auto` has a listener of its own (auto/role.ts); `handover run` has its own
// (cli/run-signals.ts, supervisor/reaper.ts).
import { constants } from 'node:os';
import { HandoverError, hasCode, toError, typeError } from '../errors.js';
import { publish } from '../events.js';
import { expectOptions } from '../fd/arguments.js';
import type { AppEnding } from './app-duties.js';
import { type AppListener, AppSignals } from './app-signals.js';
import { HeldExit, type Wish } from './held-exit.js';
import type { InternalHandover } from './internal-handover.js';

/**
 * The signals that `serve()` and `handover/auto` handle; `false`: none of that kind. The app may listen to them, too: from
 * then on `process.exit()`, and a signal that the app sends to its own process, are held until this process has drained and
 * its hooks have run; the exit code is kept. An app that is still busy then has the rest of `drain.timeout`.
 */
export interface ServeSignals {
  /**
   * Hands over. The app's own listeners of this signal run when the successor is in charge and this process drains; they do
   * not run if the handover fails. @default 'SIGUSR2'
   */
  readonly upgrade?: NodeJS.Signals | false;
  /**
   * Drains, runs the hooks, exits 0; a second signal exits at once, except under `handover run`.
   * @default ['SIGTERM', 'SIGINT']
   */
  readonly shutdown?: readonly NodeJS.Signals[] | false;
  /**
   * The app's own listeners of this signal also run when this process drains for another reason: the successor is in
   * charge, or this process was told to close. @default false; 'SIGTERM' in `handover/auto`
   */
  readonly drain?: NodeJS.Signals | false;
}

export type CheckedSignals = Required<ServeSignals>;

const NO_SIGNALS: CheckedSignals = { upgrade: false, shutdown: false, drain: false };

/** `drainByDefault`: the value of `drain` where none is given. @throws TypeError a bad or unknown option */
export function checkSignals(signals: unknown, drainByDefault: NodeJS.Signals | false): CheckedSignals {
  const {
    upgrade = 'SIGUSR2',
    shutdown = ['SIGTERM', 'SIGINT'],
    drain = drainByDefault,
  } = expectOptions('options.signals', signals, ['upgrade', 'shutdown', 'drain']);
  if (drain !== false) expectSignal('options.signals.drain', drain);
  if (upgrade !== false) expectSignal('options.signals.upgrade', upgrade);
  if (shutdown !== false && !Array.isArray(shutdown)) {
    throw typeError('options.signals.shutdown', 'a list of signals or false', shutdown);
  }
  for (const signal of shutdown === false ? [] : shutdown) expectSignal('options.signals.shutdown', signal);
  return { upgrade, shutdown, drain } as CheckedSignals;
}

function expectSignal(name: string, signal: unknown): void {
  if (typeof signal !== 'string' || !(signal in constants.signals))
    throw typeError(name, 'the name of a signal', signal);
}

/** Milliseconds for a process in which everything is closed to end by itself. */
const EXIT_GRACE = 1_000;

/** Handles the signals of a process of `serve()` or `handover/auto`, and ends the process. */
export class ProcessSignals implements AppEnding {
  readonly #handover: InternalHandover;
  readonly #signals: CheckedSignals;
  readonly #app: AppSignals = new AppSignals((signal, app) => this.#onApp(signal, app));
  readonly #exit: HeldExit = new HeldExit((signal) => this.#app.isHeard(signal));
  /** The app's listeners of the upgrade signal, which run when the successor is in charge. */
  readonly #postponed = new Map<unknown, AppListener>();
  /** Signals handled and listeners called since this end began, so that each is only once. */
  readonly #told = new Set<unknown>();
  #isRepeated = false;
  #isShuttingDown = false;
  /** Moment in which the first listener of the app was called to end it; undefined before, or without listeners. */
  #appEndsSince: number | undefined;

  constructor(handover: InternalHandover, signals: CheckedSignals | false) {
    this.#handover = handover;
    this.#signals = signals || NO_SIGNALS;
    handover.endAppBy(this);
  }

  /** Installs the signal listeners. */
  install(): void {
    const { upgrade, shutdown } = this.#signals;
    if (upgrade) this.#app.install(upgrade, (signal) => this.#upgrade(signal));
    for (const signal of shutdown || [])
      this.#app.install(signal, (...args: [NodeJS.Signals, number?]) => this.#shutDown(...args));
  }

  /** Removes the signal listeners, and stops holding the exit. */
  uninstall(): void {
    this.#app.uninstall();
    this.#exit.recall();
  }

  /** Ends the process now. */
  exit(code: number): never {
    return this.#exit.exit(code);
  }

  /**
   * Ends the process when the handover is closed. If something keeps the process alive too long, publishes `stuck` first.
   */
  exitWhenClosed(): void {
    void this.#handover.closed.then(() => this.#exitSoon());
  }

  begin(): boolean {
    const { upgrade, drain } = this.#signals;
    const calls = new Map(this.#postponed);
    this.#postponed.clear();
    let isEnding = upgrade !== false && calls.size > 0 && this.#app.isHeard(upgrade);
    if (drain && this.#appEndsSince === undefined) {
      this.#told.add(drain);
      isEnding ||= this.#app.isHeard(drain);
      for (const app of this.#app.of(drain)) if (!this.#told.has(app.listener)) calls.set(app.listener, app);
    }
    if (calls.size === 0) return this.#exit.isHolding;
    if (isEnding) this.#appEndsSince ??= performance.now();
    this.#exit.begin();
    for (const app of calls.values()) this.#call(app);
    return true;
  }

  recalled(): void {
    // A process that was told to end meanwhile still ends.
    if (!this.#exit.isHolding || this.#isShuttingDown) return;
    this.#exit.recall();
    this.#told.clear();
    this.#appEndsSince = undefined;
    publish('app-recalled', { generation: this.#handover.generation });
  }

  #upgrade(signal: NodeJS.Signals): void {
    if (this.#exit.takeRaised(signal)) return;
    // A failed handover has been published, and logged unless `log` is false; no caller waits for this promise.
    this.#handover.upgrade({ requester: { by: 'signal', signal } }).catch((error: unknown) => {
      if (!hasCode(error, 'ERR_HANDOVER_IN_PROGRESS')) this.#postponed.clear();
    });
  }

  /** `value` is the signal's number; it is missing where the app has emitted the event itself. */
  #shutDown(signal: NodeJS.Signals, value?: number): void {
    const isApps = this.#exit.takeRaised(signal) || (value === undefined && this.#isShuttingDown);
    this.#isRepeated = !isApps && this.#told.has(signal);
    this.#told.add(signal);
    if (isApps) return;
    if (!this.#isShuttingDown) {
      this.#isShuttingDown = true;
      this.#exit.begin();
      void this.#handover.close();
      return;
    }
    // The supervisor and systemd may both have sent it (systemd signals all processes of a unit, FACTS S1). Only the
    // supervisor kills.
    if (this.#handover.isSupervised) return;
    this.exit(128 + constants.signals[signal]);
  }

  #onApp(signal: NodeJS.Signals, app: AppListener): void {
    if (signal === this.#signals.upgrade) {
      if (this.#handover.mayHandOver) this.#postponed.set(app.listener, app);
      else app.call();
      return;
    }
    if (this.#isRepeated || this.#told.has(app.listener)) return;
    this.#told.add(app.listener);
    if (this.#app.isHeard(signal)) this.#appEndsSince ??= performance.now();
    app.call();
  }

  /** Publishes what the listener throws. It does not end the process, because other connections may still drain. */
  #call({ listener, call }: AppListener): void {
    this.#told.add(listener);
    const fail = (error: unknown): void =>
      publish('hook-failed', {
        name: 'signals.drain',
        error: toError(error),
      });
    try {
      void Promise.resolve(this.#exit.run(call)).catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #exitSoon(): void {
    const { closing, generation, drainTimeout } = this.#handover;
    const hasFailed = closing.reason instanceof HandoverError;
    if (hasFailed) process.exitCode = 1;
    else process.exitCode ??= 0;
    this.#exit.onWish((wish) => this.#end(hasFailed ? { code: 1 } : wish));
    const left = this.#appEndsSince === undefined ? 0 : this.#appEndsSince + drainTimeout - performance.now();
    const timer = setTimeout(
      () => {
        publish('stuck', { generation, resources: process.getActiveResourcesInfo() });
        this.#exit.exit();
      },
      Math.max(EXIT_GRACE, left),
    );
    timer.unref();
  }

  /**
   * Ends the process as the app asked: by a signal only if a signal from outside began this end, which at a handover none
   * did.
   */
  #end(wish: Wish): void {
    if ('code' in wish) this.#exit.exit(wish.code);
    if (!this.#isShuttingDown || this.#handover.isSupervised) this.#exit.exit();
    this.uninstall();
    this.#exit.raise(wish.signal);
  }
}
