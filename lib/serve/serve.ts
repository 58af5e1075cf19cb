// `serve()`: one line for a server that replaces itself.

import { HandoverError, hasCode, typeError } from '../errors.js';
import { expectOptions } from '../fd/arguments.js';
import type { Logger } from '../observe/log.js';
import { LISTEN_OPTIONS } from '../process/call-options.js';
import { OLD_OPTIONS } from '../process/old-spellings.js';
import { HANDOVER_OPTION_NAMES, HANDOVER_OPTIONS, type HandoverOptions } from '../process/options.js';
import { type CheckedSignals, checkSignals, ProcessSignals, type ServeSignals } from '../process/process-signals.js';
import type { Handover, Listener, ListenOptions } from '../process/types.js';
import type { Migration } from '../protocols/migration.js';
import { openInternal } from './open-handover.js';
import { sayWhatHappens } from './saying.js';

type OptionsOfBoth = Omit<HandoverOptions, 'migrate'> & Omit<ListenOptions, 'migrate'>;

/** What `serve()` takes: the options of `openHandover` and of `listen`, and its own. */
export interface ServeOptions extends OptionsOfBoth {
  /** The options of `listen`. They can also stand beside the other options, without this group. */
  readonly listen?: ListenOptions;
  /**
   * `true`: live connections migrate to the successor. `false`: they end politely in this process. An object of hooks, which
   * `listen` takes, too: how the connections of a `net.Server` migrate.
   * @default true
   */
  readonly migrate?: boolean | Migration;
  /**
   * Runs before the server listens, and is awaited. Calls that need the handover before this process is ready belong here:
   * `inherited`, `whenInCharge`, `migrateWebSockets`.
   */
  readonly setup?: (handover: Handover) => unknown;
  /**
   * The signals that hand over and shut down; `false`: no signal handlers are installed.
   * @default { upgrade: 'SIGUSR2', shutdown: ['SIGTERM', 'SIGINT'] }
   */
  readonly signals?: ServeSignals | false;
  /**
   * `true`: all events of handovers, as lines of text on stderr. A pino-compatible logger: all events go to it. `false`: none.
   * @default failures on stderr, one line each: a handover that failed or was refused, the reason why this process cannot hand
   * over, a hook that failed
   */
  readonly log?: boolean | Logger;
}

/**
 * Serves, and on SIGUSR2 replaces the process: starts its command anew, hands the socket over, drains, exits 0.
 *
 * Resolves when this process accepts. Installs signal handlers, and ends the process when it has been superseded or shut down,
 * with exit code 1 where the predecessor took everything back; `openHandover` does neither. Prints failures (see `log`). Open
 * further servers with `listen()` of the handover it resolves to.
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
  const { signals, setup, handover: opening, listen } = options;
  const handover = await openInternal(opening);
  const ending = new ProcessSignals(handover, signals);
  ending.install();
  try {
    await setup?.(handover);
    await handover.listen(listener, listen);
    await handover.ready();
  } catch (error) {
    await handover.close();
    ending.uninstall();
    // The predecessor serves on, and has told this process to end.
    if (handover.closing.reason instanceof HandoverError) ending.exit(1);
    // The process was told to end while it loaded or was a standby.
    if (hasCode(error, 'ERR_HANDOVER_CLOSED')) ending.exit(0);
    throw error;
  }
  ending.exitWhenClosed();
  return handover;
}

export interface CheckedServeOptions extends Pick<ServeOptions, 'setup' | 'log'> {
  readonly signals: CheckedSignals | false;
  /** Unchecked options: `openHandover` and `listen` check them. */
  readonly handover: HandoverOptions;
  readonly listen: ListenOptions;
}

/** @throws TypeError naming the option, what was expected, and the value */
export function checkServeOptions(options: ServeOptions, drain: NodeJS.Signals | false = false): CheckedServeOptions {
  const own = ['setup', 'signals', 'log', 'listen'];
  const known = new Set([...own, ...Object.keys(HANDOVER_OPTIONS), ...LISTEN_OPTIONS]);
  const { setup, signals = {}, log = false } = expectOptions('options', options, [...known], Object.keys(OLD_OPTIONS));
  if (setup !== undefined && typeof setup !== 'function') throw typeError('options.setup', 'a function', setup);
  if (typeof log !== 'boolean' && !isLogger(log)) {
    throw typeError('options.log', 'a boolean or a logger with info, warn and error', log);
  }
  return {
    ...pick(options, ['setup', 'log']),
    signals: signals === false ? false : checkSignals(signals, drain),
    ...separate(options),
  };
}

/** Separates the options of `openHandover` from those of `listen`: `migrate` as a flag is of the former, else of the latter. */
function separate(options: ServeOptions): Pick<CheckedServeOptions, 'handover' | 'listen'> {
  const isFlag = typeof options.migrate === 'boolean';
  const without = (names: readonly string[]): readonly string[] => names.filter((name) => name !== 'migrate');
  const handover = pick(options, isFlag ? HANDOVER_OPTION_NAMES : without(HANDOVER_OPTION_NAMES)) as HandoverOptions;
  const beside = pick(options, isFlag ? without(LISTEN_OPTIONS) : LISTEN_OPTIONS) as ListenOptions;
  const { listen = beside } = options;
  const [twice] = listen === beside ? [] : Object.keys(beside);
  if (twice !== undefined) {
    throw typeError(`options.${twice}`, 'in the group listen, which is given', beside[twice as keyof ListenOptions]);
  }
  return { handover, listen };
}

function isLogger(log: unknown): boolean {
  const methods = (log ?? {}) as Partial<Logger>;
  return [methods.info, methods.warn, methods.error].every((method) => typeof method === 'function');
}

function pick<T extends object>(source: T, keys: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(source).filter(([key]) => keys.includes(key))) as Partial<T>;
}
