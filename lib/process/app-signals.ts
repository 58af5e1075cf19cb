// The app's own listeners of the signals that the package handles. Each is wrapped, so that the package decides when it
// runs. The wrapper has the app's function as `listener`, as the wrapper of `once()` has, so that `off()` and `listeners()`
// find it.
import { constants } from 'node:os';

/** Key by which copies of the package signal-exit find each other; before version 4 it was a property of `process`. */
const SIGNAL_EXIT: unique symbol = Symbol.for('signal-exit emitter');

type Listener = NodeJS.SignalsListener & { listener?: NodeJS.SignalsListener };

/** Called in place of a listener of the app; `app.call()` calls that listener. */
export type Gate = (signal: NodeJS.Signals, app: AppListener) => void;

export interface AppListener {
  /** The app's function. */
  readonly listener: NodeJS.SignalsListener;
  readonly call: () => unknown;
}

export class AppSignals {
  readonly #gate: Gate;
  readonly #own = new Map<NodeJS.Signals, NodeJS.SignalsListener>();
  readonly #wrapped = new WeakMap<Listener, AppListener>();

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** Adds `own` before every listener of the app, including those that the app added earlier. */
  install(signal: NodeJS.Signals, own: NodeJS.SignalsListener): void {
    if (this.#own.size === 0) process.on('newListener', this.#onNewListener);
    this.#own.set(signal, own);
    process.prependListener(signal, own);
    this.#adopt(signal);
  }

  /** Removes the package's listeners. Those of the app are called directly from now on. */
  uninstall(): void {
    process.off('newListener', this.#onNewListener);
    for (const [signal, own] of this.#own) process.off(signal, own);
    this.#own.clear();
  }

  /** The app's listeners of this signal, in their order. */
  of(signal: NodeJS.Signals): AppListener[] {
    const raws = process.rawListeners(signal) as Listener[];
    return raws
      .filter((raw) => raw !== this.#own.get(signal))
      .map((raw) => this.#wrapped.get(raw) ?? plain(signal, raw));
  }

  /** Whether the app handles this signal. */
  isHeard(signal: NodeJS.Signals): boolean {
    return this.of(signal).length > signalExits();
  }

  /** Node emits 'newListener' before it adds the listener, and delivers no signal before the microtasks have run. */
  readonly #onNewListener = (event: string | symbol): void => {
    if (this.#own.has(event as NodeJS.Signals)) queueMicrotask(() => this.#adopt(event as NodeJS.Signals));
  };

  /** Wraps new listeners. One listener is always present: without any, the signal would end the process. */
  #adopt(signal: NodeJS.Signals): void {
    const own = this.#own.get(signal);
    if (!own) return;
    const fresh = (process.rawListeners(signal) as Listener[]).filter((raw) => raw !== own && !this.#wrapped.has(raw));
    if (fresh.length === 0) return;
    for (const raw of fresh) process.off(signal, raw);
    for (const raw of fresh) process.on(signal, this.#wrap(signal, raw));
    if (process.rawListeners(signal)[0] === own) return;
    process.off(signal, own);
    process.prependListener(signal, own);
  }

  #wrap(signal: NodeJS.Signals, raw: Listener): Listener {
    const app: AppListener = {
      listener: raw.listener ?? raw,
      call: () => {
        // Node's wrapper of `once()` removes only itself, and this one is in its place.
        if (raw.listener) process.off(signal, wrapper);
        return plain(signal, raw).call();
      },
    };
    const wrapper: Listener = () => {
      if (this.#own.has(signal)) this.#gate(signal, app);
      else app.call();
    };
    wrapper.listener = app.listener;
    this.#wrapped.set(wrapper, app);
    return wrapper;
  }
}

/** Calls the listener as Node does. */
function plain(signal: NodeJS.Signals, raw: Listener): AppListener {
  return {
    listener: raw.listener ?? raw,
    call: () => Reflect.apply(raw, process, [signal, constants.signals[signal]]) as unknown,
  };
}

/**
 * Number of listeners of the package signal-exit. They do nothing where others listen, too: signal-exit leaves the end of
 * the process to those.
 */
function signalExits(): number {
  const older = (process as { __signal_exit_emitter__?: { count?: number } }).__signal_exit_emitter__;
  const newer = (globalThis as { [SIGNAL_EXIT]?: { count?: number } })[SIGNAL_EXIT];
  return (older?.count ?? 0) + (newer?.count ?? 0);
}
