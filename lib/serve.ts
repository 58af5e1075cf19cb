// `serve()`: one line for a server that replaces itself. The only part of the package that handles signals and exits.
import { constants } from 'node:os';
import { HandoverError, hasCode, typeError } from './errors.js';
import { publish } from './events.js';
import { expectOptions } from './fd/arguments.js';
import { openHandover } from './handover/open.js';
import { HANDOVER_OPTIONS, type HandoverOptions, LISTEN_OPTIONS } from './handover/options.js';
import type { Handover, Listener, ListenOptions } from './handover/types.js';
import { type Logger, logHandover, stderrLogger } from './observe/log.js';

export interface ServeSignals {
  /** Hands over. @default 'SIGUSR2' */
  readonly upgrade?: NodeJS.Signals | false;
  /** Drains, runs the hooks, exits 0; a second one exits at once. @default ['SIGTERM', 'SIGINT'] */
  readonly shutdown?: readonly NodeJS.Signals[] | false;
}

export interface ServeOptions extends HandoverOptions, ListenOptions {
  /** Other signals, or none. */
  readonly signals?: ServeSignals | false;
  /** `true`: lines of text on stderr; or a pino-compatible logger. @default false */
  readonly log?: boolean | Logger;
}

/**
 * Serves, and replaces itself on SIGUSR2: starts this process' command anew, hands the socket over, drains, exits 0.
 *
 * Resolves when this process accepts. Installs signal handlers and ends the process when it has been superseded or shut
 * down, with exit code 1 where the predecessor took everything back; `openHandover` does neither. Prints nothing unless
 * `log` is set. Further servers: `handover.listen()` on what it resolves to.
 *
 * @throws as `openHandover`, `listen` and `ready`
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { serve } from 'handover';
 * await serve(createServer((req, res) => res.end('hello')), { port: 8080 });
 * ```
 */
export async function serve(listener: Listener, options: ServeOptions): Promise<Handover> {
  const { signals, log, ...rest } = checkServeOptions(options);
  if (log) logHandover(log === true ? stderrLogger : log);
  const handover = await openHandover(pick(rest, HANDOVER_OPTIONS));
  const uninstall = signals ? installSignals(handover, signals) : () => {};
  try {
    await handover.listen(listener, pick(rest, LISTEN_OPTIONS));
    await handover.ready();
  } catch (error) {
    await handover.close();
    uninstall();
    // The predecessor serves, and has told this process to end.
    if (handover.closing.reason instanceof HandoverError) process.exit(1);
    // Told to end while it loaded or was a standby.
    if (hasCode(error, 'ERR_HANDOVER_CLOSED')) process.exit(0);
    throw error;
  }
  void handover.closed.then(() => exit(handover));
  return handover;
}

/** How long an app that closed everything may take to end by itself. */
const EXIT_GRACE = 1_000;

/** Ends the process; if something keeps it alive, that is published first. */
function exit({ generation, closing }: Handover): void {
  process.exitCode = closing.reason instanceof HandoverError ? 1 : 0;
  const timer = setTimeout(() => {
    publish('stuck', { generation, resources: process.getActiveResourcesInfo() });
    process.exit();
  }, EXIT_GRACE);
  timer.unref();
}

interface CheckedServeOptions extends ServeOptions {
  readonly signals: Required<ServeSignals> | false;
}

function checkServeOptions(options: ServeOptions): CheckedServeOptions {
  const known = ['signals', 'log', ...HANDOVER_OPTIONS, ...LISTEN_OPTIONS];
  const { signals = {}, log = false } = expectOptions('options', options, known);
  if (typeof log !== 'boolean' && typeof (log as Logger | null)?.info !== 'function') {
    throw typeError('options.log', 'a boolean or a logger with info, warn and error', log);
  }
  return { ...options, signals: signals === false ? false : checkSignals(signals) };
}

function checkSignals(signals: unknown): Required<ServeSignals> {
  const { upgrade = 'SIGUSR2', shutdown = ['SIGTERM', 'SIGINT'] } = expectOptions('options.signals', signals, [
    'upgrade',
    'shutdown',
  ]);
  if (upgrade !== false) expectSignal('options.signals.upgrade', upgrade);
  if (shutdown !== false && !Array.isArray(shutdown)) {
    throw typeError('options.signals.shutdown', 'a list of signals or false', shutdown);
  }
  for (const signal of shutdown === false ? [] : shutdown) expectSignal('options.signals.shutdown', signal);
  return { upgrade, shutdown } as Required<ServeSignals>;
}

function expectSignal(name: string, signal: unknown): void {
  if (typeof signal !== 'string' || !(signal in constants.signals))
    throw typeError(name, 'the name of a signal', signal);
}

function installSignals(handover: Handover, { upgrade, shutdown }: Required<ServeSignals>): () => void {
  const installed: [NodeJS.Signals, NodeJS.SignalsListener][] = [];
  const install = (signal: NodeJS.Signals, handler: NodeJS.SignalsListener): void => {
    process.on(signal, handler);
    installed.push([signal, handler]);
  };
  // A failed handover has been published, and logged where `log` is set: nobody waits for this promise.
  if (upgrade) install(upgrade, () => void handover.upgrade().catch(() => {}));
  let isShuttingDown = false;
  for (const signal of shutdown || []) {
    install(signal, () => {
      if (isShuttingDown) process.exit(128 + constants.signals[signal]);
      isShuttingDown = true;
      void handover.close();
    });
  }
  return () => {
    for (const [signal, handler] of installed) process.off(signal, handler);
  };
}

function pick<T extends object>(source: T, keys: readonly string[]): T {
  return Object.fromEntries(Object.entries(source).filter(([key]) => keys.includes(key))) as T;
}
