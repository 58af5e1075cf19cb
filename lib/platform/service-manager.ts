// What systemd is told of this process: ready, handing over, who is the main process now, stopping; and what it keeps for
// a crash. Without NOTIFY_SOCKET nothing happens.

import { publish } from '../events.js';
import { expectBoolean, expectOptions } from '../fd/arguments.js';
import { closeFd, dupFd } from '../fd/index.js';
import type { Hello } from '../protocol/frames.js';
import { hasDied } from '../protocol/peer-process.js';
import type { Ledger } from '../resources/ledger.js';
import { type Fields, Notifier } from './notify.js';
import { cgroupOf } from './process-table.js';
import { StandIn } from './stand-in.js';

/** How systemd is told; `false` as the option leaves NOTIFY_SOCKET to the app. */
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

/** systemd counts from the last message that asks for more time (sd_notify(3)). */
const EXTEND_INTERVAL = 5_000;
const EXTENSION_USEC = 15_000_000;
/** systemd answers in its next turn; this long only while it loads its units anew. */
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
  /** Another process was named as the main one. */
  #isSuperseded = false;
  #isStopping = false;

  /** Removes the variables it answers: a child must not speak for the service. */
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

  /** Whether there is one that listens to this process. */
  get isPresent(): boolean {
    return this.#notifier !== undefined;
  }

  /** Whether listeners outlive this process, and with them their Unix paths. */
  get keepsListeners(): boolean {
    return this.#keepsListeners;
  }

  /** For the successor, which comes to be the main process; what names this one's pid is not true of it. */
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

  /** This process serves: the first, or one that is the main process of a unit of its own. */
  ready(generation: number): void {
    this.#tell({ READY: 1, STATUS: `generation ${generation} serves` });
    this.watch();
  }

  /** This process is in charge, as its predecessor says; systemd may not listen to this one before it has read that. */
  watch(): void {
    if (this.#watchdogUsec === 0 || this.#watchdog) return;
    const interval = this.#watchdogUsec / 2_000;
    this.#watchdog = setInterval(() => this.#repeat({ WATCHDOG: 1 }), interval).unref();
  }

  /**
   * The predecessor is gone, or ends as soon as it hears that this has returned. If it died before it could say who follows,
   * this is still in time where NotifyAccess=all.
   */
  alone(generation: number, predecessor?: Hello): void {
    const standIn = predecessor && this.#startStandIn();
    this.#tell({ MAINPID: this.#pid, READY: 1, STATUS: `generation ${generation} serves` });
    if (standIn) void this.#becomeChild(predecessor, standIn).catch(fail);
  }

  /** A handover begins. */
  reloading(generation: number): void {
    // CLOCK_MONOTONIC, as uv_hrtime reads it: Type=notify-reload compares it with when it asked (systemd.service(5)).
    const MONOTONIC_USEC = process.hrtime.bigint() / 1_000n;
    const STATUS = `generation ${generation} hands over`;
    this.#tell({ RELOADING: 1, MONOTONIC_USEC: String(MONOTONIC_USEC), STATUS });
    this.#extend();
  }

  /** The handover is over, and this process serves: it failed, or a standby waits. */
  serving(generation: number, reason: string): void {
    if (this.#isStopping) return;
    this.#stopExtending();
    const MAINPID = this.#isSuperseded ? this.#pid : undefined;
    this.#isSuperseded = false;
    this.#tell({ MAINPID, READY: 1, WATCHDOG: this.#ping, STATUS: `generation ${generation} serves: ${reason}` });
    this.watch();
  }

  /**
   * The successor is in charge. Resolves when systemd has read it, so that this process may end; a process of another unit
   * cannot be the main one of this.
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

  /** This process ends, and nobody comes after it. */
  stopping(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#tell({ STOPPING: 1, STATUS: 'finishing what is open', EXTEND_TIMEOUT_USEC: EXTENSION_USEC });
    this.#extend();
  }

  /** Has systemd keep what the ledger holds now, and let go of what it holds no more. */
  store(ledger: Ledger): void {
    if (!this.#keepsListeners) return;
    const { kept, gone } = ledger.storable();
    for (const FDNAME of gone) this.#tell({ FDSTOREREMOVE: 1, FDNAME });
    for (const name of gone) this.#stored.delete(name);
    for (const [FDNAME, fd] of kept) {
      if (this.#stored.has(FDNAME)) continue;
      this.#stored.add(FDNAME);
      // It may be closed while the message waits its turn.
      const copy = dupFd(fd);
      const sending = this.#notifier?.send({ FDSTORE: 1, FDNAME, FDPOLL: 0 }, [copy]);
      sending?.catch(fail).finally(() => closeFd(copy));
    }
  }

  /** Nothing more will be said. */
  end(): void {
    this.#stopExtending();
    this.#stopWatching();
  }

  /**
   * When the predecessor named this process, systemd found it to be another one's child. It waits for no such main process
   * when it stops the unit, kills it at once where it is alone in there, and looks again only when the main process
   * changes. So it changes: to another process and back, as soon as the end of the predecessor has made this one systemd's
   * child. Until systemd has read that, the other process is the reason why it waits.
   */
  async #becomeChild(predecessor: Hello, standIn: StandIn): Promise<void> {
    try {
      await hasDied(predecessor);
      const changed = this.#notifier?.together(async (send) => {
        if (this.#isSuperseded || standIn.hasEnded) return;
        await send({ MAINPID: standIn.pid });
        // By the process that is the main one now: where NotifyAccess=main no other is heard.
        await standIn.say(`MAINPID=${this.#pid}`).catch(() => send({ MAINPID: this.#pid }));
      });
      // Nobody is kept by it: a manager that does not read may be told to the end of this process.
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

  /** A drain, and the start of a successor, may take longer than the unit's timeouts. */
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

  /** Not on top of what a manager that does not read has not read yet. */
  #repeat(fields: Fields): void {
    if (!this.#notifier?.isBehind) this.#tell(fields);
  }

  /** Nothing fails for a manager that does not listen. */
  #tell(fields: Fields): void {
    this.#notifier?.send(fields).catch(fail);
  }
}

function fail(error: Error): void {
  publish('hook-failed', { name: 'systemd', error });
}
