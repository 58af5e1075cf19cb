// `openHandover` with its observers: the audit and the timeline that options ask for, and the profiles that upgrades ask for.

import { profileDrains } from '../observe/profile-drain.js';
import { type InternalHandover, openInternal as open } from '../process/internal-handover.js';
import { type CheckedOptions, checkHandoverOptions, type HandoverOptions } from '../process/options.js';
import type { Handover } from '../process/types.js';

/**
 * Opens this process' handover: receives the listeners and state of a predecessor, or begins a chain.
 *
 * It installs no signal handlers, prints nothing and never ends the process. Call it once, early: a predecessor waits for
 * `ready()` from the start of this process on. Without an addon for the platform, servers listen plainly and `upgrade()`
 * rejects.
 *
 * Environment: removes variables that a child of this process would mistake for its own: HANDOVER_SUPERVISOR (the import alone
 * removes HANDOVER_CHANNEL); the announcements of sockets (LISTEN_*, SERVER_STARTER_PORT, EINHORN_FD*), unless they are for
 * another process; and NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, unless `systemd: false`.
 *
 * Descriptors: takes the passed descriptors and makes them close-on-exec. `listen()` and `inherited()` claim them; an
 * unclaimed one fails the handover, or is closed (`unclaimed`, `ready()`). Until `closed` it holds up to 12 more in reserve,
 * on /dev/null, so that a handover still works when the table is full.
 *
 * @throws ERR_HANDOVER_ALREADY_OPEN it is open in this process
 * @throws ERR_HANDOVER_ACTIVATION a variable that announces sockets is malformed, or names no such listener
 * @throws ERR_HANDOVER_PEER_LOST the predecessor died before it had handed anything over
 * @throws ERR_HANDOVER_TIMEOUT the predecessor is silent, or another starting process holds the lock of `takeover`, for more
 *   than `readyTimeout`
 * @throws ERR_HANDOVER_VERSION, ERR_HANDOVER_PROTOCOL the two releases share no protocol version; the predecessor broke the
 *   protocol
 * @throws ERR_HANDOVER_DESCRIPTORS the predecessor's descriptors do not fit into the table of this process
 * @throws ERR_HANDOVER_ABORTED the predecessor aborted, or another code that it gave: to a process that asks by `takeover`
 *   ERR_HANDOVER_TAKEOVER_REFUSED, ERR_HANDOVER_IN_PROGRESS, ERR_HANDOVER_NOT_READY, ERR_HANDOVER_CLOSED,
 *   ERR_HANDOVER_TOO_MANY_DRAINING
 * @throws ERR_HANDOVER_TAKEOVER_UNSAFE, ERR_HANDOVER_CONTROL_UNSAFE other users can write to the directory of that socket
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

/** The same, with the internal members that `serve` and `handover/auto` need. */
export async function openInternal(options: HandoverOptions): Promise<InternalHandover> {
  return (await prepareOpening(options))();
}

/**
 * Loads the modules that these options need. The returned function opens the handover, synchronously where it has nothing to
 * wait for.
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

/** Loads only the observers in use. The returned function starts all of them; the function that it returns ends them. */
function loadObservers({ audit, timeline }: CheckedOptions): LookOn | Promise<LookOn> {
  if (!timeline && audit === undefined) return profileDrains;
  return loadRecorders(audit, timeline);
}

async function loadRecorders(audit: CheckedOptions['audit'], timeline: CheckedOptions['timeline']): Promise<LookOn> {
  const openedAt = performance.now();
  const { recordTimeline } = timeline ? await import('../observe/timeline-recorder.js') : {};
  const { keepAudit } = audit === undefined ? {} : await import('../observe/audit.js');
  return () => {
    // The successor profiles its own start.
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
