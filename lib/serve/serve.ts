// `serve()`: one line for a server that replaces itself.

import { HandoverError, hasCode, typeError } from '../errors.js';
import { expectOptions } from '../fd/arguments.js';
import type { Logger } from '../observe/log.js';
import { HANDOVER_OPTIONS, type HandoverOptions, LISTEN_OPTIONS } from '../process/options.js';
import { type CheckedSignals, checkSignals, ProcessSignals, type ServeSignals } from '../process/process-signals.js';
import type { Handover, Listener, ListenOptions } from '../process/types.js';
import { openInternal } from './open-handover.js';
import { sayWhatHappens } from './saying.js';

/** What `serve()` takes: the options of `openHandover` and of `listen` in one, and its own. */
export interface ServeOptions extends HandoverOptions, ListenOptions {
  /**
   * Runs before the server listens: the place for `inherited`, `whenInCharge`, `migrateWebSockets` and whatever else needs
   * the handover before this process is ready. Awaited.
   */
  readonly setup?: (handover: Handover) => unknown;
  /** Other signals, or none. @default { upgrade: 'SIGUSR2', shutdown: ['SIGTERM', 'SIGINT'] } */
  readonly signals?: ServeSignals | false;
  /**
   * `true`: lines of text on stderr; or a pino-compatible logger; `false`: nothing. @default on stderr, one line each: a
   * handover that failed or was refused, why none is possible here, a hook that failed
   */
  readonly log?: boolean | Logger;
}

/**
 * Serves, and replaces itself on SIGUSR2: starts this process' command anew, hands the socket over, drains, exits 0.
 *
 * Resolves when this process accepts. Installs signal handlers and ends the process when it has been superseded or shut
 * down, with exit code 1 where the predecessor took everything back; `openHandover` does neither. Prints what went wrong
 * (see `log`). Further servers: `handover.listen()` on what it resolves to.
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
  const { log, ...rest } = checkServeOptions(options);
  const stopLogging = sayWhatHappens(log);
  try {
    return await open(listener, rest);
  } catch (error) {
    stopLogging();
    throw error;
  }
}

async function open(listener: Listener, options: Omit<CheckedServeOptions, 'log'>): Promise<Handover> {
  const { signals, setup, ...rest } = options;
  const handover = await openInternal(pick(rest, HANDOVER_OPTIONS));
  const ending = new ProcessSignals(handover, signals);
  ending.install();
  try {
    await setup?.(handover);
    await handover.listen(listener, pick(rest, LISTEN_OPTIONS));
    await handover.ready();
  } catch (error) {
    await handover.close();
    ending.uninstall();
    // The predecessor serves, and has told this process to end.
    if (handover.closing.reason instanceof HandoverError) ending.exit(1);
    // Told to end while it loaded or was a standby.
    if (hasCode(error, 'ERR_HANDOVER_CLOSED')) ending.exit(0);
    throw error;
  }
  ending.exitWhenClosed();
  return handover;
}

export interface CheckedServeOptions extends ServeOptions {
  readonly signals: CheckedSignals | false;
}

/** @throws TypeError naming the option, what was expected, and the value */
export function checkServeOptions(options: ServeOptions, drain: NodeJS.Signals | false = false): CheckedServeOptions {
  const known = ['setup', 'signals', 'log', ...HANDOVER_OPTIONS, ...LISTEN_OPTIONS];
  const { setup, signals = {}, log = false } = expectOptions('options', options, known);
  if (setup !== undefined && typeof setup !== 'function') throw typeError('options.setup', 'a function', setup);
  if (typeof log !== 'boolean' && !isLogger(log)) {
    throw typeError('options.log', 'a boolean or a logger with info, warn and error', log);
  }
  return { ...options, signals: signals === false ? false : checkSignals(signals, drain) };
}

function isLogger(log: unknown): boolean {
  const methods = (log ?? {}) as Partial<Logger>;
  return [methods.info, methods.warn, methods.error].every((method) => typeof method === 'function');
}

/** The options of that name. */
export function pick<T extends object>(source: T, keys: readonly string[]): T {
  return Object.fromEntries(Object.entries(source).filter(([key]) => keys.includes(key))) as T;
}
