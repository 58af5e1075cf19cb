// Opens the one handover of this process, for `openHandover`, `serve` and `handover/auto`.
import { HandoverError } from '../errors.js';
import { isSupported, type SocketAddress } from '../fd/index.js';
import { type Env, processEnv } from '../platform/env.js';
import { noteStart } from '../platform/start.js';
import type { AppEnding } from './app-duties.js';
import { type CheckedOptions, checkHandoverOptions, type HandoverOptions } from './options.js';
import { ProcessHandover } from './process-handover.js';
import type { Handover, Listener, Listening, ListenOptions } from './types.js';
import { UnsupportedHandover } from './unsupported.js';

// Read when the package is loaded, because the app may change environment, arguments and directory before it opens the
// handover.
const START = noteStart(processEnv);

/** Whether a predecessor started this process. */
export const hasPredecessor: boolean = START.hasPredecessor;

/**
 * Key of the flag that this process has opened its handover. All copies of this package in the process share it, such as
 * one in a bundle.
 */
const OPEN = Symbol.for('handover.open');
const inProcess = globalThis as { [OPEN]?: boolean };

/** A handover with the members that `serve` and `handover/auto` need. */
export interface InternalHandover extends Handover {
  /**
   * Makes servers emit 'listening' before `ready()`. Without a predecessor they also accept at once. In a successor they do
   * not, because the app may only be checking an address, and connections in the queue are then the predecessor's. In a
   * successor that is not ready, an address that only an inherited listener occupies counts as free.
   */
  announceAtOnce(): void;
  /** As `Handover.listen()`; `isOptional`: a successor need not claim the listener. */
  listen(listener: Listener, options: ListenOptions, isOptional?: boolean): Promise<Listening>;
  /** Addresses of the inherited listeners that are not claimed yet. */
  readonly unclaimedSockets: readonly SocketAddress[];
  /** Whether a successor gets a listener that the app opens now. False from COMMIT on, and while this process ends. */
  readonly handsOver: boolean;
  /** Whether a listener of this process has this name. */
  isListening(name: string): boolean;
  /** Names of the inherited listeners that this process still has to claim. */
  readonly unclaimed: readonly string[];
  /** Whether this process is a worker of a supervisor that is alive. */
  readonly isSupervised: boolean;
  /** Whether a handover is possible at all: false without the addon. */
  readonly mayHandOver: boolean;
  readonly drainTimeout: number;
  /** Sets what makes the app end its own part when this process drains. */
  endAppBy(appEnding: AppEnding): void;
}

/**
 * As `openHandover`, without the observers. Returns the handover itself, not a promise, where it has nothing to wait for.
 * @throws ERR_HANDOVER_ALREADY_OPEN; TypeError, RangeError a bad or unknown option
 */
export function openInternal(options: HandoverOptions): InternalHandover | Promise<InternalHandover> {
  const checked = checkHandoverOptions(options);
  if (inProcess[OPEN])
    throw new HandoverError('ERR_HANDOVER_ALREADY_OPEN', 'this process has opened its handover already', {
      stillServing: true,
    });
  inProcess[OPEN] = true;
  const opened = openIn(processEnv, checked);
  return opened instanceof Promise ? opened.then(noteOpen) : noteOpen(opened);
}

function noteOpen(handover: InternalHandover): InternalHandover {
  void handover.closed.then(() => {
    inProcess[OPEN] = false;
  });
  return handover;
}

function openIn(env: Env, options: CheckedOptions): InternalHandover | Promise<InternalHandover> {
  if (!isSupported()) return new UnsupportedHandover(options);
  return ProcessHandover.open(env, options, START);
}
