// `openHandover`: the handover of this process.
import { HandoverError } from '../errors.js';
import { isSupported, type SocketAddress } from '../fd/index.js';
import { type Env, processEnv } from '../platform/env.js';
import { noteStart } from '../platform/start.js';
import type { AppEnding } from './app-duties.js';
import { type CheckedOptions, checkHandoverOptions, type HandoverOptions } from './options.js';
import { ProcessHandover } from './process-handover.js';
import type { Handover, Listener, Listening, ListenOptions } from './types.js';
import { UnsupportedHandover } from './unsupported.js';

// When the package is loaded: the app may change all of it before it opens the handover.
const START = noteStart(processEnv);

/** Whether a predecessor started this process. */
export const hasPredecessor: boolean = START.hasPredecessor;

/** Whether this process has opened its handover: of all copies of this package in it, as a bundle has its own. */
const OPEN = Symbol.for('handover.open');
const inProcess = globalThis as { [OPEN]?: boolean };

/** What `serve` and `handover/auto` need beside. */
export interface InternalHandover extends Handover {
  /**
   * What listens from now on says so before `ready()`, and accepts, unless there is a predecessor: it could be a probe, and
   * what waits is then the predecessor's. Until this process is ready a place that only an inherited listener keeps from being
   * bound counts as free.
   */
  announceAtOnce(): void;
  /** As `Handover.listen()`; `isOptional`: a successor may leave it. */
  listen(listener: Listener, options: ListenOptions, isOptional?: boolean): Promise<Listening>;
  /** Where the listeners are that were inherited and wait to be claimed. */
  readonly unclaimedSockets: readonly SocketAddress[];
  /** Whether a successor gets what the app opens now. From COMMIT on none does, and none where this process ends. */
  readonly handsOver: boolean;
  /** Whether a listener of this process has this name. */
  isListening(name: string): boolean;
  /** Listeners that were inherited and are to be claimed. */
  readonly unclaimed: readonly string[];
  /** Whether a supervisor keeps this process, and is alive. */
  readonly isSupervised: boolean;
  /** Whether there may ever be a handover: not where there is no addon. */
  readonly mayHandOver: boolean;
  readonly drainTimeout: number;
  /** Who has the app end its part when this process drains. */
  endAppBy(appEnding: AppEnding): void;
}

/** As `openHandover`, which adds those who look on. At once, where nothing has to be waited for. */
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
