// The app's own listeners of the signals that are handled here: known one by one, and called when it is time. Each is
// wrapped as `once()` wraps, with the function itself as `listener`: `off()` and `listeners()` find it.
import { constants } from 'node:os';

/** By which copies of signal-exit find each other; before version 4 it was a property of `process`. */
const SIGNAL_EXIT: unique symbol = Symbol.for('signal-exit emitter');

type Listener = NodeJS.SignalsListener & { listener?: NodeJS.SignalsListener };

/** Called in place of a listener of the app; `call` calls it. */
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

  /** `own` is called before every listener of the app, also of those it had before. */
  install(signal: NodeJS.Signals, own: NodeJS.SignalsListener): void {
    if (this.#own.size === 0) process.on('newListener', this.#onNewListener);
    this.#own.set(signal, own);
    process.prependListener(signal, own);
    this.#adopt(signal);
  }

  /** Listens no more; the app's are called as ever. */
  uninstall(): void {
    process.off('newListener', this.#onNewListener);
    for (const [signal, own] of this.#own) process.off(signal, own);
    this.#own.clear();
  }

  /** Those of the app, in their order. */
  of(signal: NodeJS.Signals): AppListener[] {
    const raws = process.rawListeners(signal) as Listener[];
    return raws
      .filter((raw) => raw !== this.#own.get(signal))
      .map((raw) => this.#wrapped.get(raw) ?? plain(signal, raw));
  }

  /** Whether the app does something at this signal. */
  isHeard(signal: NodeJS.Signals): boolean {
    return this.of(signal).length > signalExits();
  }

  /** It is not added yet; no signal comes before the microtasks are done. */
  readonly #onNewListener = (event: string | symbol): void => {
    if (this.#own.has(event as NodeJS.Signals)) queueMicrotask(() => this.#adopt(event as NodeJS.Signals));
  };

  /** The own one stays all the time: without any, the signal would end the process. */
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
        // Node's own wrapper of once() would look for itself.
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

/** A listener as Node calls it. */
function plain(signal: NodeJS.Signals, raw: Listener): AppListener {
  return {
    listener: raw.listener ?? raw,
    call: () => Reflect.apply(raw, process, [signal, constants.signals[signal]]) as unknown,
  };
}

/** Those of the package signal-exit do nothing where others listen, too: it leaves the end to them. */
function signalExits(): number {
  const older = (process as { __signal_exit_emitter__?: { count?: number } }).__signal_exit_emitter__;
  const newer = (globalThis as { [SIGNAL_EXIT]?: { count?: number } })[SIGNAL_EXIT];
  return (older?.count ?? 0) + (newer?.count ?? 0);
}
