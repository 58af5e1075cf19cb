// The public types of a handover.
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

/** A listener that can be handed over: a server of net, http, https or http2, or a UDP socket. */
export type Listener = Server | DatagramSocket;

/** Where a server listens, under which name, and how its connections migrate. */
export interface ListenOptions extends ListenAddress {
  /**
   * The successor claims a listener by name and address; the name tells two listeners at one address apart. Names that
   * begin with `handover:` are reserved. @default the address, for example `tcp://*:8080`
   */
  readonly name?: string;
  /**
   * For a `net.Server`, and for an `http.Server` whose connections the app sees before Node's HTTP does: its live
   * connections migrate to a successor that listens with this option, too; without the option they drain. Connections of any
   * other `http.Server` migrate without it.
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

/** The result of `listen`. */
export interface Listening {
  readonly name: string;
  /** As `server.address()` gives it; a Unix path or abstract name as a string. */
  readonly address: AddressInfo | string;
  /**
   * `inherited`: the socket is the predecessor's, with the connections that wait in its queue; `activated`: a service
   * manager passed it along (systemd, Server::Starter, einhorn …); `bound`: this process has bound it.
   */
  readonly origin: 'inherited' | 'activated' | 'bound';
}

/** When a hook of `onClose` runs, and how long it may take. */
export interface CloseHookOptions {
  /** Milliseconds the hook may take. @default 5000 */
  readonly timeout?: number;
  /** Name of a hook that runs before this one, whatever the order of declaration. */
  readonly after?: string;
}

/** The options of one handover. */
export interface UpgradeOptions {
  /**
   * Cancels the handover until the successor is in charge; the promise then rejects with the signal's reason. Without
   * effect in a worker of `handover run`, where the supervisor replaces the process.
   */
  readonly signal?: AbortSignal | undefined;
  /** The requester of the handover, for the audit line. @default the app */
  readonly requester?: Requester | undefined;
  /**
   * A directory for two CPU profiles, named by the handover's id: the start of the successor until it is ready, and the
   * drain of this process. The directory is made if it does not exist. Not under `handover run`.
   */
  readonly profile?: string | undefined;
}

/** This process' part in a chain of generations. Made by `openHandover`. */
export interface Handover extends AsyncDisposable {
  /** 1 for the first process of a chain. */
  readonly generation: number;
  /** Whether this process is the one that accepts new work, hands over and runs the duties. */
  readonly isInCharge: boolean;
  /**
   * Aborted when this process has been superseded or is shutting down. After a successor failed, this is a new signal. Use
   * it to end what never ends by itself, such as server-sent events and long polls: their clients reconnect to the
   * successor.
   */
  readonly closing: AbortSignal;
  /** Resolves when this process has served its last request and its hooks have run. Never rejects. */
  readonly closed: Promise<void>;
  /** Older generations that still drain, by their last reports: age in ms, open connections. */
  readonly draining: readonly DrainingGeneration[];
  /** Open connections of this process. */
  readonly connectionCount: number;
  /** The listeners of this process, each with its accept queue. Read from the kernel at each access. */
  readonly listeners: readonly ListenerStatus[];

  /**
   * Claims the inherited socket of this name and address, or one that a service manager passed along by name or address, or
   * binds one. The handover owns the descriptor. The server accepts from `ready()` on, or at once when this process is
   * ready already. If the app calls `server.close()`, the address is freed and the server drains. Once another process is
   * in charge, or this one ends, a listener that was not handed over is bound here, accepts at once, and goes to no
   * successor: open sessions may need it.
   * @throws ERR_HANDOVER_ADDRESS_IN_USE the predecessor holds the address and did not hand it over under this name
   * @throws ERR_HANDOVER_PROTOCOL the descriptor that the predecessor handed over under this name is no such listener
   * @throws ERR_HANDOVER_ACTIVATION the descriptor that a service manager passed under this name is no such listener
   * @throws ERR_HANDOVER_PEER_LOST the supervisor, `handover run`, is gone
   * @throws EADDRINUSE, EACCES … as bind(2); ENOTFOUND … as a look-up of `host`; TypeError, RangeError a bad or unknown
   *    option, a name that is in use, or a listener that cannot be handed over
   */
  listen(listener: Listener, options: ListenOptions): Promise<Listening>;

  /**
   * Accepts on every listener, and tells the predecessor that this process is ready. A listener that was handed over and
   * not claimed fails the handover, unless the option `unclaimed` names it: then it is closed. Resolves when this process
   * accepts; a standby accepts when it is committed.
   * @throws ERR_HANDOVER_ABORTED, or the code that the predecessor gave: the predecessor aborted the handover (`closing` is
   *    aborted with the same reason)
   * @throws ERR_HANDOVER_UNCLAIMED a listener that was handed over was not claimed, and this process must end
   * @throws ERR_HANDOVER_DESCRIPTORS this process has too few descriptors left to serve (RLIMIT_NOFILE)
   * @throws ERR_HANDOVER_PEER_LOST the channel to the predecessor is closed, and the predecessor serves on
   * @throws ERR_HANDOVER_ANOTHER_IN_CHARGE another generation took charge
   * @throws ERR_HANDOVER_CLOSED this process was told to end meanwhile
   * @throws ERR_HANDOVER_PID_FILE in a process without a predecessor: the pid file cannot be written
   * @throws EADDRINUSE, EACCES … as bind(2) for `takeover` and `control`, in a process without a predecessor
   * @throws the error of `warmup`, or of a step that failed
   */
  ready(): Promise<void>;

  /**
   * Starts a successor with this process' own command and hands everything over to it. Resolves when the successor is in
   * charge; this process then drains in the background (see `closed`). In a worker of `handover run` it asks the supervisor,
   * whose options hold, and `signal` does not cancel.
   *
   * The member `stillServing` of a `HandoverError` says whether this process serves on. Before anything is started:
   * @throws ERR_HANDOVER_NOT_READY, ERR_HANDOVER_CLOSED this process is not in charge yet, or no longer
   * @throws ERR_HANDOVER_IN_PROGRESS another handover is under way, or a standby waits
   * @throws ERR_HANDOVER_TOO_MANY_DRAINING `maxDraining` older generations still drain
   * @throws ERR_HANDOVER_WOULD_ORPHAN the end of this process would end the successor (`allowOrphan`)
   * @throws ERR_HANDOVER_COMMAND_NOT_FOUND the executable of this process is gone
   * @throws ERR_HANDOVER_NO_MEMORY there is no room for a second process (`preflight.memory`)
   * @throws ERR_HANDOVER_CHECK_FAILED `preflight.command` failed
   * @throws ERR_HANDOVER_SPAWN_FAILED the system refused to start the successor, or `successor.env` failed: `cause`
   * @throws ERR_HANDOVER_UNSUPPORTED there is no addon for this platform
   *
   * Afterwards, when the successor has been ended:
   * @throws ERR_HANDOVER_SUCCESSOR_EXITED the successor ended: `exitCode`, `exitSignal`, `stderr`
   * @throws ERR_HANDOVER_TIMEOUT the successor was not ready within `readyTimeout`, did not answer COMMIT, or hung
   * @throws ERR_HANDOVER_PROBATION_FAILED the successor ended, sent no heartbeat or was not healthy on probation: `cause`
   * @throws ERR_HANDOVER_ABORTED the successor gave up, or a function given to `keep` failed; or the code that the successor
   *   gave, such as ERR_HANDOVER_UNCLAIMED, ERR_HANDOVER_PID_FILE or ERR_HANDOVER_DESCRIPTORS
   * @throws ERR_HANDOVER_ANOTHER_IN_CHARGE the successor failed, and another generation has taken charge: this process ends
   * @throws ERR_HANDOVER_VERSION, ERR_HANDOVER_PROTOCOL the two processes share no protocol; the successor broke the protocol
   * @throws ERR_HANDOVER_PEER_LOST the supervisor, `handover run`, is gone
   * @throws ERR_HANDOVER_INTERNAL a bug of this package
   * @throws the signal's reason; TypeError a bad or unknown option
   */
  upgrade(options?: UpgradeOptions): Promise<UpgradeOutcome>;

  /**
   * Starts a successor that loads, warms up and waits as a standby: it accepts only when it is committed. The caller must
   * commit or discard the standby; until then no other handover can begin.
   * @throws as `upgrade()`, without ERR_HANDOVER_PROBATION_FAILED: a standby has no probation
   * @throws ERR_HANDOVER_WOULD_ORPHAN also in a worker of `handover run`, whatever `allowOrphan` says
   */
  prepare(options?: UpgradeOptions): Promise<Standby>;

  /**
   * Runs a named step of the start: at once, or when the steps in `after` are done; steps that do not wait for each other
   * run side by side. Resolves with the result of `run`. `ready()` waits for every step declared before, and rejects if one
   * failed. Times are published (`handover:step`).
   * @throws TypeError a name that is taken, or one in `after` that no step has; the error of `run`, or of a step in `after`
   * @example
   * ```ts
   * const config = handover.step('config', () => readConfig());
   * const database = handover.step('database', async () => connect(await config), { after: 'config' });
   * const cache = handover.step('cache', () => fillCache());
   * await handover.ready();
   * ```
   */
  step<T>(name: string, run: () => T | Promise<T>, options?: StepOptions): Promise<T>;

  /**
   * Runs `duty` in the generation in charge: at once, or as soon as this one takes charge, and again after a recall. Its
   * signal is aborted when this process gives the charge up; a duty has a second to end then.
   */
  whenInCharge(duty: (signal: AbortSignal) => unknown): void;

  /** Makes the exit wait until the promise has settled, up to `drain.timeout`. */
  waitUntil(work: Promise<unknown>): void;

  /**
   * Hands bytes or a JSON value to the next generations under a name, in place of an earlier value: in sealed memory
   * (memfd_create(2)), not through the socket. A function is called at COMMIT; if it fails, the handover fails with
   * ERR_HANDOVER_ABORTED.
   * @throws ERR_HANDOVER_CLOSED this process has handed over or is shutting down
   * @throws EMFILE … as memfd_create(2)
   * @throws TypeError a name that is empty, reserved or a listener's, or a value of another type
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
   * Hands a descriptor to the next generations under a name, in place of an earlier value. Duplicates the descriptor; the
   * caller still owns its own.
   * @throws ERR_HANDOVER_CLOSED this process has handed over or is shutting down
   * @throws EBADF, EMFILE … as fcntl(2)
   * @throws TypeError, RangeError as `keep()`, or `fd` is no descriptor
   */
  keepFd(name: string, fd: number): void;

  /**
   * The value or descriptor that an older generation kept under this name; undefined where there is none. Values of
   * functions arrive when this process takes charge. A value that the app never asks for is closed when the predecessor has
   * ended.
   */
  inherited(name: string): Inherited | undefined;

  /**
   * Runs `hook` after the last request, in the order of the calls, each within its timeout. A hook that fails is published
   * (`handover:hook-failed`), and the next one runs.
   * @throws TypeError, RangeError a bad name, hook or option
   */
  onClose(name: string, hook: () => unknown, options?: CloseHookOptions): void;

  /**
   * Drains, runs the hooks and closes all descriptors. Resolves when that is done, as `closed`. Aborts a handover that is
   * not committed.
   */
  close(): Promise<void>;
}
