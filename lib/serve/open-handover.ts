// `openHandover` with those who look on: what an option asks to be written down, and profiles an upgrade asks for.

import { profileDrains } from '../observe/profile-drain.js';
import { type InternalHandover, openInternal as open } from '../process/internal-handover.js';
import { type CheckedOptions, checkHandoverOptions, type HandoverOptions } from '../process/options.js';
import type { Handover } from '../process/types.js';

/**
 * Opens this process' handover: receives what a predecessor hands over, or begins a chain.
 *
 * It installs no signal handlers, prints nothing and never ends the process. Call it once, early: a predecessor waits for
 * `ready()` from the start of this process on. Where there is no addon for the platform, servers listen plainly and
 * `upgrade()` rejects.
 *
 * Environment: removes HANDOVER_SUPERVISOR (the import alone: HANDOVER_CHANNEL); what announces sockets (LISTEN_*, SERVER_STARTER_PORT,
 * EINHORN_FD*), unless it is meant for another process; and NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, unless
 * `systemd: false`: no child may believe that they are meant for it.
 *
 * Descriptors: takes those that are passed along and makes them close-on-exec; `listen()` and `inherited()` claim them, and
 * what nobody claims fails the handover, or is closed (`unclaimed`, `ready()`). Until `closed` it holds up to 12 more in reserve, on /dev/null, so that a
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
 * @throws EADDRINUSE, EACCES … as bind(2) for `health.endpoint`, as connect(2) for `takeover`
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
  return openInternal(options);
}

/** The same, with what `serve` and `handover/auto` need beside. */
export async function openInternal(options: HandoverOptions): Promise<InternalHandover> {
  return (await prepareOpening(options))();
}

/**
 * Loads what opening a handover with these options takes, and does nothing yet; the function returned opens it, at once where
 * nothing has to be waited for.
 */
export function prepareOpening(options: HandoverOptions): Opening | Promise<Opening> {
  const lookOn = loadObservers(checkHandoverOptions(options));
  if (!(lookOn instanceof Promise)) return openingOf(options, lookOn);
  return lookOn.then((loaded) => openingOf(options, loaded));
}

type Opening = () => InternalHandover | Promise<InternalHandover>;

function openingOf(options: HandoverOptions, lookOn: () => () => void): Opening {
  return () => {
    const stop = lookOn();
    const stopLater = (handover: InternalHandover): InternalHandover => {
      void handover.closed.then(stop);
      return handover;
    };
    try {
      const opened = open(options);
      if (!(opened instanceof Promise)) return stopLater(opened);
      opened.catch(stop);
      return opened.then(stopLater);
    } catch (error) {
      stop();
      throw error;
    }
  };
}

type LookOn = () => () => void;

/** Each part is loaded where it is used only. The function returned starts all of them, and the one it returns ends them. */
function loadObservers({ audit, timeline }: CheckedOptions): LookOn | Promise<LookOn> {
  if (!timeline && audit === undefined) return profileDrains;
  return loadRecorders(audit, timeline);
}

async function loadRecorders(audit: CheckedOptions['audit'], timeline: CheckedOptions['timeline']): Promise<LookOn> {
  const openedAt = performance.now();
  const { recordTimeline } = timeline ? await import('../observe/timeline-recorder.js') : {};
  const { keepAudit } = audit === undefined ? {} : await import('../observe/audit.js');
  return () => {
    // Of its start the successor makes its own profile.
    const stops = [profileDrains()];
    const stop = (): void => {
      for (const end of stops) end();
    };
    try {
      if (timeline && recordTimeline) stops.push(recordTimeline(timeline.directory, openedAt));
      if (audit !== undefined && keepAudit) stops.push(keepAudit(audit));
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  };
}
