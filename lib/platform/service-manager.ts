// Tells systemd the state of the service: ready, handing over, the pid of the main process, stopping; and gives it listeners
// to keep through a crash. Does nothing without NOTIFY_SOCKET.

import { publish } from '../events.js';
import { expectBoolean, expectOptions } from '../fd/arguments.js';
import { closeFd, dupFd } from '../fd/index.js';
import type { Hello } from '../protocol/frames.js';
import { hasDied } from '../protocol/peer-process.js';
import type { Ledger } from '../resources/ledger.js';
import { type Fields, Notifier } from './notify.js';
import { cgroupOf } from './process-table.js';
import { StandIn } from './stand-in.js';

/** The option `systemd`; `false` instead leaves NOTIFY_SOCKET to the app. */
export interface SystemdOptions {
  /**
   * Have systemd keep the listeners, so that they survive a crash of the whole service; needs FileDescriptorStoreMax= in
   * the unit. @default where systemd says that it has a store ($FDSTORE, systemd 254)
   */
  readonly fdstore?: boolean;
}

/** @throws TypeError */
export function checkSystemd(systemd: unknown = {}): SystemdOptions | false {
  if (systemd === false) return false;
  const { fdstore } = expectOptions('options.systemd', systemd, ['fdstore']);
  if (fdstore !== undefined) expectBoolean('options.systemd.fdstore', fdstore);
  return systemd as SystemdOptions;
}

/** Milliseconds between two messages that ask for more time. systemd counts each from its arrival (sd_notify(3)). */
const EXTEND_INTERVAL = 5_000;
const EXTENSION_USEC = 15_000_000;
/** Usually systemd answers within milliseconds; it takes longer while it reloads its units. */
const BARRIER_TIMEOUT = 5_000;

export class ServiceManager {
  readonly #notifier: Notifier | undefined;
  readonly #pid: number;
  readonly #keepsListeners: boolean;
  readonly #watchdogUsec: number;
  readonly #socket: string | undefined;
  readonly #storeSize: string | undefined;
  readonly #stored = new Set<string>();
  #watchdog: NodeJS.Timeout | undefined;
  #extending: NodeJS.Timeout | undefined;
  /** Whether this process has named another one as the main process. */
  #isSuperseded = false;
  #isStopping = false;

  /** Removes the variables that it uses from `variables`: a child must not send messages for the service. */
  constructor(variables: NodeJS.ProcessEnv, pid: number, options: SystemdOptions | false) {
    const { NOTIFY_SOCKET, WATCHDOG_USEC = '0', WATCHDOG_PID = String(pid), FDSTORE } = variables;
    const isOurs = options !== false && NOTIFY_SOCKET !== undefined && Notifier.speaks(NOTIFY_SOCKET);
    this.#pid = pid;
    this.#socket = isOurs ? NOTIFY_SOCKET : undefined;
    this.#notifier = isOurs ? new Notifier(NOTIFY_SOCKET) : undefined;
    this.#keepsListeners = isOurs && (options.fdstore ?? Number(FDSTORE ?? 0) > 0);
    this.#storeSize = FDSTORE;
    this.#watchdogUsec = isOurs && WATCHDOG_PID === String(pid) ? Number(WATCHDOG_USEC) || 0 : 0;
    if (isOurs) for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete variables[name];
  }

  /** Whether there is a service manager to which this process can send. */
  get isPresent(): boolean {
    return this.#notifier !== undefined;
  }

  /** Whether systemd keeps the listeners when this process ends: their Unix paths must then stay, too. */
  get keepsListeners(): boolean {
    return this.#keepsListeners;
  }

  /** Variables for the successor, which will be the main process. Variables with the pid of this process are removed. */
  get successorVariables(): NodeJS.ProcessEnv {
    if (this.#socket === undefined) return {};
    return {
      NOTIFY_SOCKET: this.#socket,
      WATCHDOG_USEC: this.#watchdogUsec > 0 ? String(this.#watchdogUsec) : undefined,
      FDSTORE: this.#storeSize,
      WATCHDOG_PID: undefined,
      SYSTEMD_EXEC_PID: undefined,
    };
  }

  /** This process serves as the first of its unit. */
  ready(generation: number): void {
    this.#tell({ READY: 1, STATUS: `generation ${generation} serves` });
    this.watch();
  }

  /**
   * Starts the watchdog: this process is in charge. It sends nothing at once, because systemd may accept its messages only once
   * it has read the predecessor's, which names this process.
   */
  watch(): void {
    if (this.#watchdogUsec === 0 || this.#watchdog) return;
    const interval = this.#watchdogUsec / 2_000;
    this.#watchdog = setInterval(() => this.#repeat({ WATCHDOG: 1 }), interval).unref();
  }

  /**
   * Names this process as the main one: the predecessor is gone, or ends as soon as it hears that this method has returned. A
   * predecessor may have died before it named this process; with NotifyAccess=all this message is then in time.
   */
  alone(generation: number, predecessor?: Hello): void {
    const standIn = predecessor && this.#startStandIn();
    this.#tell({ MAINPID: this.#pid, READY: 1, STATUS: `generation ${generation} serves` });
    if (standIn) void this.#becomeChild(predecessor, standIn).catch(fail);
  }

  /** A handover begins. */
  reloading(generation: number): void {
    // CLOCK_MONOTONIC, which hrtime reads: for Type=notify-reload it must be later than the request (systemd.service(5)).
    const MONOTONIC_USEC = process.hrtime.bigint() / 1_000n;
    const STATUS = `generation ${generation} hands over`;
    this.#tell({ RELOADING: 1, MONOTONIC_USEC: String(MONOTONIC_USEC), STATUS });
    this.#extend();
  }

  /** The handover failed, or a standby waits: this process serves on. */
  serving(generation: number, reason: string): void {
    if (this.#isStopping) return;
    this.#stopExtending();
    const MAINPID = this.#isSuperseded ? this.#pid : undefined;
    this.#isSuperseded = false;
    this.#tell({ MAINPID, READY: 1, WATCHDOG: this.#ping, STATUS: `generation ${generation} serves: ${reason}` });
    this.watch();
  }

  /**
   * The successor is in charge. Resolves when systemd has read that, so that this process may end. Does not name a successor of
   * another unit, which cannot be the main process of this one.
   */
  async superseded(generation: number, successor: { readonly pid: number; readonly isChild: boolean }): Promise<void> {
    const isOfThisUnit = successor.isChild || (cgroupOf(successor.pid) ?? '') === cgroupOf('self');
    this.#stopExtending();
    this.#stopWatching();
    if (!this.#notifier) return;
    this.#isSuperseded = isOfThisUnit;
    const MAINPID = isOfThisUnit ? successor.pid : undefined;
    const STATUS = `generation ${generation + 1} (pid ${successor.pid}) serves`;
    // The ping bridges the time until the successor's next one.
    this.#tell({ MAINPID, READY: 1, WATCHDOG: this.#ping, STATUS });
    await this.#notifier.barrier(BARRIER_TIMEOUT).catch(fail);
  }

  /** This process ends without a successor. */
  stopping(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#tell({ STOPPING: 1, STATUS: 'finishing what is open', EXTEND_TIMEOUT_USEC: EXTENSION_USEC });
    this.#extend();
  }

  /** Lets systemd keep the listeners that the ledger holds now, and close those that it holds no more. */
  store(ledger: Ledger): void {
    if (!this.#keepsListeners) return;
    const { kept, gone } = ledger.storable();
    for (const FDNAME of gone) this.#tell({ FDSTOREREMOVE: 1, FDNAME });
    for (const name of gone) this.#stored.delete(name);
    for (const [FDNAME, fd] of kept) {
      if (this.#stored.has(FDNAME)) continue;
      this.#stored.add(FDNAME);
      // The ledger may close its descriptor while the message waits for earlier ones.
      const copy = dupFd(fd);
      const sending = this.#notifier?.send({ FDSTORE: 1, FDNAME, FDPOLL: 0 }, [copy]);
      sending?.catch(fail).finally(() => closeFd(copy));
    }
  }

  /** Stops all periodic messages. */
  end(): void {
    this.#stopExtending();
    this.#stopWatching();
  }

  /**
   * Makes systemd treat this process as its own child. When the predecessor named it, this process was the predecessor's child.
   * For a main process that is not its child, systemd does not wait when it stops the unit, and sends SIGKILL at once where no
   * other process is in the unit (FACTS S3). It looks at the parent again only when the main process changes. So once the
   * predecessor has ended, and systemd is the parent, this method names another process of the unit as the main one, and then
   * this one again. Until systemd has read that, the other process in the unit keeps systemd from the early SIGKILL.
   */
  async #becomeChild(predecessor: Hello, standIn: StandIn): Promise<void> {
    try {
      await hasDied(predecessor);
      const changed = this.#notifier?.together(async (send) => {
        if (this.#isSuperseded || standIn.hasEnded) return;
        await send({ MAINPID: standIn.pid });
        // The stand-in is the main process now, and with NotifyAccess=main systemd accepts messages from no other.
        await standIn.say(`MAINPID=${this.#pid}`).catch(() => send({ MAINPID: this.#pid }));
      });
      // A manager that does not read must not keep this process alive, so the timer is unref'd.
      const late = new Promise<true>((resolve) => setTimeout(resolve, BARRIER_TIMEOUT, true).unref());
      if (await Promise.race([changed, late])) return;
      await this.#notifier?.barrier(BARRIER_TIMEOUT);
    } finally {
      standIn.end();
    }
  }

  #startStandIn(): StandIn | undefined {
    try {
      const socket = this.#notifier?.dial();
      if (socket === undefined) return undefined;
      try {
        return StandIn.start(socket, fail);
      } finally {
        closeFd(socket);
      }
    } catch (error) {
      fail(error as Error);
      return undefined;
    }
  }

  /** Asks for more time every few seconds: a drain or a successor's start may take longer than the unit's timeouts. */
  #extend(): void {
    if (!this.#notifier) return;
    const extension = { EXTEND_TIMEOUT_USEC: EXTENSION_USEC };
    this.#extending ??= setInterval(() => this.#repeat(extension), EXTEND_INTERVAL).unref();
  }

  get #ping(): 1 | undefined {
    return this.#watchdogUsec > 0 ? 1 : undefined;
  }

  #stopExtending(): void {
    clearInterval(this.#extending);
    this.#extending = undefined;
  }

  #stopWatching(): void {
    clearInterval(this.#watchdog);
    this.#watchdog = undefined;
  }

  /** Sends a periodic message, unless earlier ones wait for the manager to read. */
  #repeat(fields: Fields): void {
    if (!this.#notifier?.isBehind) this.#tell(fields);
  }

  /** Sends a message. A failure is published as an event, and fails nothing else. */
  #tell(fields: Fields): void {
    this.#notifier?.send(fields).catch(fail);
  }
}

function fail(error: Error): void {
  publish('hook-failed', { name: 'systemd', error });
}
