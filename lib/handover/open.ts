// `openHandover`: the handover of this process.
import { HandoverError } from '../errors.js';
import { isSupported } from '../fd/index.js';
import { noteStartDirectory } from './command.js';
import { type Env, processEnv } from './env.js';
import { LiveHandover } from './live.js';
import { type CheckedOptions, checkHandoverOptions, type HandoverOptions } from './options.js';
import { PlainHandover } from './plain.js';
import type { Handover } from './types.js';

// Noted when the package is loaded: the app may change its directory before it opens the handover.
const START_DIRECTORY = noteStartDirectory(processEnv);

let isOpen = false;

/**
 * Opens this process' handover: receives what a predecessor hands over, or begins a chain.
 *
 * It installs no signal handlers, prints nothing and never ends the process. Call it once, early: a predecessor waits for
 * `ready()` from the start of this process on. Where there is no addon for the platform, servers listen plainly and
 * `upgrade()` rejects.
 *
 * Environment: removes HANDOVER_CHANNEL and HANDOVER_SUPERVISOR; what announces sockets (LISTEN_*, SERVER_STARTER_PORT,
 * EINHORN_FD*), unless it is meant for another process; and NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, unless
 * `systemd: false`: no child may believe that they are meant for it.
 *
 * Descriptors: takes those that are passed along and makes them close-on-exec; `listen()` and `inherited()` claim them, and
 * what nobody claims is closed (see `ready()`). Until `closed` it holds up to 12 more in reserve, on /dev/null, so that a
 * handover still works when the table is full.
 *
 * @throws ERR_HANDOVER_ALREADY_OPEN it is open in this process
 * @throws ERR_HANDOVER_ACTIVATION a variable that announces sockets is malformed, or names no such listener
 * @throws ERR_HANDOVER_PEER_LOST the predecessor died before it had handed anything over
 * @throws ERR_HANDOVER_TIMEOUT it said nothing, or another process that starts holds the lock of `takeover` for more than
 *   `readyTimeout`
 * @throws ERR_HANDOVER_VERSION, ERR_HANDOVER_PROTOCOL the two speak no common protocol; it sent what it may not
 * @throws ERR_HANDOVER_DESCRIPTORS its descriptors do not fit into the table of this process
 * @throws ERR_HANDOVER_ABORTED the predecessor gave up, or the code it named: for one that is asked by `takeover`
 *   ERR_HANDOVER_TAKEOVER_REFUSED, ERR_HANDOVER_IN_PROGRESS, ERR_HANDOVER_NOT_READY, ERR_HANDOVER_CLOSED,
 *   ERR_HANDOVER_TOO_MANY_DRAINING
 * @throws ERR_HANDOVER_TAKEOVER_UNSAFE, ERR_HANDOVER_CONTROL_UNSAFE others can write to the directory of that socket
 * @throws EADDRINUSE, EACCES … as bind(2) for `healthEndpoint`, as connect(2) for `takeover`
 * @throws TypeError, RangeError a bad or unknown option
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { openHandover } from 'handover';
 * const handover = await openHandover({ readyTimeout: 60_000 });
 * await handover.listen(createServer(), { name: 'web', port: 8080 });
 * await handover.ready();
 * ```
 */
export function openHandover(options: HandoverOptions = {}): Promise<Handover> {
  return openPreloaded(options);
}

/** What `serve` and `handover/auto` need beside. */
export interface Preloaded extends Handover {
  /** What listens from now on accepts, before `ready()`, unless this process is on standby. */
  acceptAtOnce(): void;
  /** Whether a listener of this process has this name. */
  isListening(name: string): boolean;
  /** Listeners that were inherited and wait to be claimed. */
  readonly unclaimed: readonly string[];
  /** Whether a supervisor keeps this process, and is alive. */
  readonly isSupervised: boolean;
}

/** As `openHandover`. */
export async function openPreloaded(options: HandoverOptions): Promise<Preloaded> {
  const checked = checkHandoverOptions(options);
  if (isOpen) throw new HandoverError('ERR_HANDOVER_ALREADY_OPEN', 'this process has opened its handover already');
  isOpen = true;
  const handover = await openIn(processEnv, checked);
  void handover.closed.then(() => {
    isOpen = false;
  });
  return handover;
}

function openIn(env: Env, options: CheckedOptions): Promise<Preloaded> {
  if (!isSupported()) return Promise.resolve(new PlainHandover(options));
  return LiveHandover.open(env, options, START_DIRECTORY);
}
