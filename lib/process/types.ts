// The public shape of a handover.
import type { Socket as DatagramSocket } from 'node:dgram';
import type { AddressInfo, Server } from 'node:net';
import type { ListenAddress } from '../endpoints/endpoint.js';
import type { Requester } from '../events.js';
import type { UpgradeOutcome } from '../handover/outcome.js';
import type { ListenerStatus } from '../protocol/control-commands.js';
import type { DrainingGeneration } from '../protocol/frames.js';
import type { Migration } from '../protocols/migration.js';
import type { Inherited, Keepable } from '../resources/kept.js';
import type { Standby } from './standby.js';
import type { StepOptions } from './steps.js';

/** What can be handed over: servers of net, http, https and http2, and UDP sockets. */
export type Listener = Server | DatagramSocket;

/** Where a server listens, under which name, and how its connections move. */
export interface ListenOptions extends ListenAddress {
  /**
   * The successor claims a listener by name and address; two listeners at one address are kept apart by it. Names that
   * begin with `handover:` are the library's. @default the address, for example `tcp://*:8080`
   */
  readonly name?: string;
  /**
   * For a `net.Server`, and for an `http.Server` whose connections the app sees before Node's HTTP does: its live
   * connections move to a successor that listens with this option too; without it they drain. Those of any other
   * `http.Server` move without it.
   * @example
   * ```ts
   * await handover.listen(server, {
   *   port: 7000,
   *   migrate: {
   *     save: (socket) => counts.get(socket),
   *     restore: (socket, count: number) => talk(socket, count),
   *   },
   * });
   * ```
   */
  readonly migrate?: Migration;
}

/** What `listen` did. */
export interface Listening {
  readonly name: string;
  /** As `server.address()` gives it; a Unix path or abstract name as a string. */
  readonly address: AddressInfo | string;
  /**
   * `inherited`: the socket is the predecessor's, with all that waits in its queue; `activated`: a supervisor passed it
   * along (systemd, Server::Starter, einhorn …).
   */
  readonly origin: 'inherited' | 'activated' | 'bound';
}

/** When a hook of `onClose` runs, and for how long it may. */
export interface CloseHookOptions {
  /** Milliseconds the hook may take. @default 5000 */
  readonly timeout?: number;
  /** Name of a hook that must have run before, whatever the order of declaration. */
  readonly after?: string;
}

/** What one handover is told. */
export interface UpgradeOptions {
  /**
   * Cancels the handover until the successor is in charge; the promise rejects with its reason. Without effect in a worker of
   * `handover run`, where the supervisor does the replacing.
   */
  readonly signal?: AbortSignal | undefined;
  /** Who asked for it, for the audit line. @default the app */
  readonly requester?: Requester | undefined;
  /**
   * A directory for two CPU profiles, named by the handover's id: the successor's start until it is ready, and the drain of
   * this process. Made where it is missing. Not under `handover run`.
   */
  readonly profile?: string | undefined;
}

/** This process' part in a chain of generations. Made by `openHandover`. */
export interface Handover extends AsyncDisposable {
  /** 1 for the first process of a chain. */
  readonly generation: number;
  /** Whether this process is the one new work goes to. */
  readonly isInCharge: boolean;
  /**
   * Aborted when this process has been superseded or is shutting down; a new one after a successor failed. End on it what
   * never ends by itself, server-sent events and long polls: their clients come again, to the successor.
   */
  readonly closing: AbortSignal;
  /** Resolves when this process has served its last request and its hooks have run. Never rejects. */
  readonly closed: Promise<void>;
  /** Older generations that still drain, as they last said: age in ms, open connections. */
  readonly draining: readonly DrainingGeneration[];
  /** Open connections of this process. */
  readonly connectionCount: number;
  /** The listeners of this process, each with its queue as the kernel has it. Read at each access. */
  readonly listeners: readonly ListenerStatus[];

  /**
   * Claims the inherited socket of this name and address, or one that a supervisor passed along by name or address, or
   * binds one. The server accepts from `ready()` on, or at once when this process is ready already. `server.close()` by the
   * app gives the address back and drains. Once another process is in charge, or this one ends, what was not handed over is
   * bound here, accepts at once and goes to nobody: sessions that are still open may need it.
   * @throws ERR_HANDOVER_ADDRESS_IN_USE the predecessor holds the address and did not hand it over under this name
   * @throws ERR_HANDOVER_PROTOCOL what the predecessor handed over under this name is no such listener
   * @throws ERR_HANDOVER_PEER_LOST the supervisor, `handover run`, is gone
   * @throws EADDRINUSE, EACCES … as bind(2); ENOTFOUND … as a look-up of `host`; TypeError, RangeError a bad or unknown
   *   option, a name that is in use, or a listener that cannot be handed over
   */
  listen(listener: Listener, options: ListenOptions): Promise<Listening>;

  /**
   * Accepts on every listener and tells the predecessor that this process serves. A listener that was handed over and
   * not claimed fails the handover, unless the option `unclaimed` names it: then it is closed. Resolves when this process accepts: on standby once it is committed.
   * @throws ERR_HANDOVER_ABORTED the predecessor gave the handover up, or the code it named (`closing` is aborted with the
   *   same reason)
   * @throws ERR_HANDOVER_UNCLAIMED a listener that was handed over was not claimed, and this process must end
   * @throws ERR_HANDOVER_CLOSED this process was told to end meanwhile
   * @throws ERR_HANDOVER_PID_FILE in a process without a predecessor: the pid file cannot be written
   * @throws EADDRINUSE, EACCES … as bind(2) for `takeover` and `control`, in a process without a predecessor
   * @throws what `warmup` throws
   */
  ready(): Promise<void>;

  /**
   * Starts a successor with this process' own command and hands everything over to it. Resolves when it is in charge;
   * this process then drains in the background (see `closed`). In a worker of `handover run` it asks the supervisor, whose
   * options hold, and `signal` does not cancel.
   *
   * A `HandoverError` says in `stillServing` that this process serves on. Before anything is started:
   * @throws ERR_HANDOVER_NOT_READY, ERR_HANDOVER_CLOSED this process is not in charge yet, or not any more
   * @throws ERR_HANDOVER_IN_PROGRESS another handover is under way, or a standby waits
   * @throws ERR_HANDOVER_TOO_MANY_DRAINING `maxDraining` older generations still drain
   * @throws ERR_HANDOVER_WOULD_ORPHAN the end of this process would take the successor along (`allowOrphan`)
   * @throws ERR_HANDOVER_COMMAND_NOT_FOUND the executable of this process is gone
   * @throws ERR_HANDOVER_NO_MEMORY there is no room for a second process (`preflight.memory`)
   * @throws ERR_HANDOVER_CHECK_FAILED `preflight.command` failed
   * @throws ERR_HANDOVER_SPAWN_FAILED the system refused to start it, or `successor.env` failed: `cause`
   * @throws ERR_HANDOVER_UNSUPPORTED there is no addon for this platform
   *
   * Afterwards; the successor has been ended:
   * @throws ERR_HANDOVER_SUCCESSOR_EXITED it ended: `exitCode`, `exitSignal`, `stderr`
   * @throws ERR_HANDOVER_TIMEOUT it was not ready within `readyTimeout`, did not answer COMMIT, or hung
   * @throws ERR_HANDOVER_PROBATION_FAILED on probation it ended, fell silent or was not healthy: `cause`
   * @throws ERR_HANDOVER_ABORTED it gave up, or a function given to `keep` failed; or the code the successor named, such as
   *   ERR_HANDOVER_UNCLAIMED, ERR_HANDOVER_PID_FILE or ERR_HANDOVER_DESCRIPTORS
   * @throws ERR_HANDOVER_VERSION, ERR_HANDOVER_PROTOCOL no common protocol; it sent what it may not
   * @throws ERR_HANDOVER_PEER_LOST the supervisor, `handover run`, is gone
   * @throws ERR_HANDOVER_INTERNAL a bug of this package
   * @throws the signal's reason; TypeError a bad or unknown option
   */
  upgrade(options?: UpgradeOptions): Promise<UpgradeOutcome>;

  /**
   * Starts a successor that loads and warms up, and waits: it accepts only when it is committed. One at a time.
   * @throws as `upgrade()`, without ERR_HANDOVER_PROBATION_FAILED: a standby has no probation
   * @throws ERR_HANDOVER_WOULD_ORPHAN also in a worker of `handover run`, whatever `allowOrphan` says
   */
  prepare(options?: UpgradeOptions): Promise<Standby>;

  /**
   * Runs a named step of the start: at once, or when the steps in `after` are done; those that do not wait for each other
   * run side by side. Resolves with what `run` returns. `ready()` waits for every step declared before, and rejects where
   * one failed. Times are published (`handover:step`).
   * @throws TypeError a name that is taken, or one in `after` that no step has; the error of `run`, or of a step it waits for
   * @example
   * ```ts
   * const config = handover.step('config', () => readConfig());
   * const database = handover.step('database', async () => connect(await config), { after: 'config' });
   * const cache = handover.step('cache', () => fillCache());
   * await handover.ready();
   * ```
   */
  step<T>(name: string, run: () => T | Promise<T>, options?: StepOptions): Promise<T>;

  /** Runs `duty` in exactly one generation: now, or as soon as this one is in charge; its signal is aborted at COMMIT. */
  whenInCharge(duty: (signal: AbortSignal) => unknown): void;

  /** The exit waits until the promise has settled, up to `drain.timeout`. */
  waitUntil(work: Promise<unknown>): void;

  /**
   * Hands bytes or a JSON value to the next generations under a name, in place of what it was: in sealed memory, not
   * through the socket. A function is asked at COMMIT; one that fails ends the handover with ERR_HANDOVER_ABORTED.
   * @throws ERR_HANDOVER_CLOSED this process has handed over or is shutting down
   * @throws EMFILE … as memfd_create(2)
   * @throws TypeError a name that is empty, a listener's or the library's, or a value of another type
   * @example
   * ```ts
   * handover.keep('sessions', () => ({ ids: [...sessions] }));
   * const kept = handover.inherited('sessions')?.json();
   * ```
   */
  keep(name: string, value: Keepable): void;
  /** @deprecated `keepFd`; a later version refuses numbers */
  keep(name: string, fd: number): void;

  /**
   * Hands a descriptor to the next generations under a name, in place of what it was. It is duplicated; yours stays yours.
   * @throws ERR_HANDOVER_CLOSED this process has handed over or is shutting down
   * @throws EBADF, EMFILE … as fcntl(2)
   * @throws TypeError, RangeError as `keep()`, or no descriptor
   */
  keepFd(name: string, fd: number): void;

  /**
   * What an older generation kept under this name; undefined where there is none. Bytes of a function are there once this
   * process is in charge. What is never asked for is closed when the predecessor is gone.
   */
  inherited(name: string): Inherited | undefined;

  /**
   * Runs `hook` after the last request, in the order of the calls, each within its timeout. One that fails is published.
   * @throws TypeError, RangeError a bad name, hook or option
   */
  onClose(name: string, hook: () => unknown, options?: CloseHookOptions): void;

  /** Drains, runs the hooks, closes everything: `closed` when that is done. A handover that is not committed is ended. */
  close(): Promise<void>;
}
