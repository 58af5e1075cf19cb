// `handover/auto`, from the moment it is loaded: it replaces Node's `listen` and `bind`, so that the handover claims or binds
// the endpoints of the app.
import cluster from 'node:cluster';
import { Socket as DatagramSocket } from 'node:dgram';
import { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { sep } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { HandoverError, hasCode, systemError } from '../errors.js';
import { optionOfAuto } from '../platform/preloaded-by.js';
import { SUPERVISOR_VARIABLE } from '../platform/supervisor-way.js';
import { hasPredecessor, type InternalHandover } from '../process/internal-handover.js';
import { endpointOf } from '../process/listening.js';
import { type Asked, parseBind, parseListen } from '../process/node-arguments.js';
import { type CheckedSignals, ProcessSignals } from '../process/process-signals.js';
import type { Listener } from '../process/types.js';
import { prepareOpening } from '../serve/open-handover.js';
import { sayWhatHappens } from '../serve/saying.js';
import { datagramOptions } from '../sockets/datagram.js';
import { nameListenPath } from '../sockets/listening.js';
import { refuseUnclaimed } from './connect.js';
import { readAutoOptions } from './options.js';
import { PID_VARIABLE, Role } from './role.js';

/** Shared by all copies of this file in a process: a bundle has its own copy. */
const BEGUN = Symbol.for('handover.auto');

/** An app that checks a port by listening and closing listens again within this time. */
const SETTLE = 50;

/** A free name for an endpoint bound again in this process (reusePort, port 0, a mistake): the kernel accepts or refuses it. */
function freeName(canonical: string, isTaken: (name: string) => boolean): string {
  for (let count = 1; ; count++) {
    const name = count === 1 ? canonical : `${canonical}#${count}`;
    if (!isTaken(name)) return name;
  }
}

interface AutoSetting {
  readonly open: () => InternalHandover | Promise<InternalHandover>;
  readonly signals: CheckedSignals | false;
  readonly claimTimeout: number;
  readonly passedOn: string | undefined;
  readonly isSilent: boolean;
  readonly say: () => void;
}

class AutoHandover {
  readonly #setting: AutoSetting;
  readonly #role: Role;
  #handover: InternalHandover | undefined;
  #ending: ProcessSignals | undefined;
  #beginning: Promise<void> | undefined;
  /** Listeners that the handover is opening, and their names. */
  readonly #opening = new Map<Listener, string>();
  readonly #listening = new Set<Listener>();
  /** Number of 'connection' handlers that are not the app's: one for each time the server listens. */
  readonly #own = new WeakMap<Listener, number>();
  #readyAt: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #acceptConnections: () => void = () => {};

  constructor(setting: AutoSetting) {
    this.#setting = setting;
    this.#role = new Role(setting.signals, setting.passedOn, setting.isSilent);
  }

  /** Opens the handover of this process; undefined where it is open. */
  begin(): Promise<void> | undefined {
    if (this.#handover) return undefined;
    if (!this.#beginning) {
      this.#setting.say();
      const opened = this.#setting.open();
      if (!(opened instanceof Promise)) return this.#begun(opened);
      this.#beginning = opened.then((handover) => this.#begun(handover));
    }
    return this.#beginning;
  }

  #begun(handover: InternalHandover): undefined {
    this.#handover = handover;
    this.#ending = new ProcessSignals(handover, this.#setting.signals);
    this.#role.take(this.#ending);
    this.#ending.exitWhenClosed();
    // The app may await one 'listening' before it opens the next server, so no 'listening' may wait for ready().
    handover.announceAtOnce();
    if (handover.generation > 1) this.#acceptConnections = refuseUnclaimed(() => handover.unclaimedSockets);
  }

  /** Whether the handover itself is opening this listener. */
  isOpening(listener: Listener): boolean {
    return this.#opening.has(listener);
  }

  /** Whether another process is in charge, or this one ends: a listener opened now is not for a successor. */
  get isOver(): boolean {
    return this.#handover?.handsOver === false;
  }

  listen(listener: Listener, asked: Asked): void {
    const beginning = this.begin();
    if (!beginning) this.#listen(this.#handover as InternalHandover, listener, asked);
    else
      beginning.then(
        () => this.#listen(this.#handover as InternalHandover, listener, asked),
        (error: Error) => throwOutside(error),
      );
  }

  #listen(handover: InternalHandover, listener: Listener, { options, callback, path }: Asked): void {
    const { canonical } = endpointOf(listener, options);
    const taken = [...this.#opening.values()];
    const name = freeName(canonical, (name) => taken.includes(name) || handover.isListening(name));
    if (callback) listener.once('listening', callback);
    if (path !== undefined) nameListenPath(listener as Server, path);
    clearTimeout(this.#timer);
    if (this.#ending) this.#role.take(this.#ending);
    this.#opening.set(listener, name);
    this.#own.set(listener, (this.#own.get(listener) ?? 0) + 1);
    handover
      .listen(listener, { ...options, name }, this.#isLate)
      .finally(() => this.#opening.delete(listener))
      .then(
        () => this.#onListening(listener),
        (error: Error) => {
          if (callback) listener.off('listening', callback);
          this.#own.set(listener, (this.#own.get(listener) ?? 1) - 1);
          this.#becomeReadySoon();
          // Emitted outside of the promise: without a handler it is an uncaught exception, as Node's is.
          process.nextTick(() => listener.emit('error', asNodes(error, listener)));
        },
      );
  }

  #onListening(listener: Listener): void {
    this.#listening.add(listener);
    listener.once('close', () => {
      this.#listening.delete(listener);
      this.#becomeReadySoon();
    });
    this.#becomeReadySoon();
  }

  /**
   * Whether it is long after the start: a successor need not open a listener of then (for one session of FTP, say) at its own
   * start.
   */
  get #isLate(): boolean {
    return this.#readyAt !== undefined && performance.now() - this.#readyAt > this.#setting.claimTimeout;
  }

  /** Whether the server only checks an endpoint: it has no handler, so a client that it accepted would be lost. */
  #isProbe(listener: Listener): boolean {
    const additions = ['closeIdleConnections', 'setSecureContext', 'updateSettings'];
    if (!(listener instanceof Server) || additions.some((name) => name in listener)) return false;
    return listener.listenerCount('connection') <= (this.#own.get(listener) ?? 0);
  }

  /** Whether the app has opened all listeners that the handover can expect. */
  get #isWhole(): boolean {
    const { generation = 1, unclaimed = [] } = this.#handover ?? {};
    const probes = [...this.#listening].filter((listener) => this.#isProbe(listener));
    return generation === 1 ? probes.length < this.#listening.size : unclaimed.length === 0 && probes.length === 0;
  }

  /** Waits for more listeners of the app, as long as inherited ones are unclaimed, before it reports ready. */
  #becomeReadySoon(): void {
    const { generation } = this.#handover as InternalHandover;
    if (this.#readyAt !== undefined || this.#opening.size > 0) return;
    clearTimeout(this.#timer);
    const isWhole = this.#isWhole;
    const settle = generation === 1 && isWhole ? 0 : SETTLE;
    // A first process without an open listener has only checked an endpoint.
    const isIdle = generation === 1 && this.#listening.size === 0;
    const delay = isWhole || isIdle ? settle : this.#setting.claimTimeout;
    this.#timer = setTimeout(() => {
      if (isWhole && !this.#isWhole) this.#becomeReadySoon();
      else if (isIdle) this.#role.layDown();
      else this.#becomeReady(this.#handover as InternalHandover);
    }, delay);
  }

  #becomeReady(handover: InternalHandover): void {
    this.#readyAt = performance.now();
    this.#acceptConnections();
    handover.ready().catch((error: Error) => {
      // If the predecessor took everything back, or this process was told to end, `exitWhenClosed` ends it.
      if (!handover.closing.aborted) throwOutside(error);
    });
  }
}

/** Throws outside of the promise: an uncaught exception. */
export function throwOutside(error: Error): void {
  process.nextTick(() => {
    throw error;
  });
}

/** Gives apps the error of Node that they know, such as EADDRINUSE of 'listen'; the handover's own error is its cause. */
function asNodes(error: Error, listener: Listener): Error {
  const cause = error instanceof HandoverError ? error.cause : error;
  if (!(cause instanceof Error) || !('errno' in cause)) return error;
  const { errno, address, port, path } = cause as { errno: number; address?: string; port?: number; path?: string };
  const syscall = listener instanceof Server ? 'listen' : 'bind';
  return Object.assign(systemError(errno, syscall, { address, port, path }), { cause: error });
}

/** Routes `listen` and `bind` through the handover, except its own calls and the cases that only Node handles. */
function install(auto: AutoHandover): void {
  const { listen } = Server.prototype;
  const { bind } = DatagramSocket.prototype;
  Server.prototype.listen = function (this: Server, ...args: unknown[]): Server {
    const isNodes = this.listening || auto.isOpening(this) || auto.isOver || hasClusterWorkers();
    const asked = isNodes ? undefined : parseListen(args);
    if (!asked || isOwnPath(asked)) return Reflect.apply(listen, this, args) as Server;
    auto.listen(this, asked);
    return this;
  };
  DatagramSocket.prototype.bind = function (this: DatagramSocket, ...args: unknown[]): DatagramSocket {
    const isNodes = auto.isOpening(this) || auto.isOver || hasClusterWorkers() || !isUnbound(this);
    const asked = isNodes ? undefined : parseBind(args);
    const { reuseAddr, reusePort, ipv6Only } = datagramOptions(this) ?? { reuseAddr: true };
    // A socket that shares its port binds beside the predecessor's.
    if (!asked || reuseAddr || reusePort) return Reflect.apply(bind, this, args) as DatagramSocket;
    const options = { ...asked.options, ...(ipv6Only === true && { ipv6Only }) };
    postponeListening(this, () => auto.listen(this, { ...asked, options }));
    return this;
  };
}

/** Whether the path is a socket in the temporary directory named by this pid, for children of this process (tsx has one). */
function isOwnPath({ path }: Asked): boolean {
  const folder = tmpdir() + sep;
  return path?.startsWith(folder) === true && path.slice(folder.length).split(/\D+/).includes(String(process.pid));
}

/** A primary of node:cluster opens the listeners of its workers by the same `listen`: they stay Node's. */
function hasClusterWorkers(): boolean {
  return Object.keys(cluster.workers ?? {}).length > 0;
}

function isUnbound(socket: DatagramSocket): boolean {
  try {
    socket.address();
    return false;
  } catch (error) {
    return hasCode(error, 'EBADF');
  }
}

/** Delays 'listening', which a datagram socket on a descriptor emits at once (FACTS N12): apps add handlers after `bind()`. */
function postponeListening(socket: DatagramSocket, bind: () => void): void {
  const own = Object.getOwnPropertyDescriptor(socket, 'emit');
  const { emit } = socket;
  socket.emit = (event: string, ...args: unknown[]): boolean => {
    if (event !== 'listening') return Reflect.apply(emit, socket, [event, ...args]) as boolean;
    process.nextTick(() => socket.emit('listening'));
    return true;
  };
  try {
    bind();
  } finally {
    if (own) Object.defineProperty(socket, 'emit', own);
    else Reflect.deleteProperty(socket, 'emit');
  }
}

/** Whether this is the server: threads, workers of node:cluster, and children that it forks preload this file, too. */
function isServer(): boolean {
  const { [PID_VARIABLE]: server, [SUPERVISOR_VARIABLE]: supervisor } = process.env;
  const isStartedByServer = server !== undefined && !hasPredecessor && supervisor === undefined;
  return isMainThread && !cluster.isWorker && !isStartedByServer;
}

/**
 * Begins in this process, once, although both `--import` and a bundle may call it. The promise settles when everything that a
 * predecessor hands over is here: an app that starts earlier listens later than it asked to.
 */
export function beginAuto(): Promise<void> | undefined {
  const { [BEGUN]: hasBegun } = globalThis as { [BEGUN]?: true };
  if (hasBegun || !isServer()) return undefined;
  Object.defineProperty(globalThis, BEGUN, { value: true });
  const { signals, log, claimTimeout, handover } = readAutoOptions();
  let opening = prepareOpening(handover);
  const auto = new AutoHandover({
    open: () => (opening instanceof Promise ? opening.then((open) => open()) : opening()),
    signals,
    claimTimeout,
    passedOn: optionOfAuto(process.execArgv),
    isSilent: log === false,
    say: () => sayWhatHappens(log),
  });
  // A process that a predecessor started is its successor. Otherwise the process that listens takes the role: this one, or one
  // that it starts (npm, tsx). A supervisor may have started either.
  const isSuccessor = hasPredecessor && process.env[SUPERVISOR_VARIABLE] === undefined;
  const begin = (): Promise<void> | undefined => (isSuccessor ? auto.begin() : undefined);
  install(auto);
  if (!(opening instanceof Promise)) return begin();
  return opening.then((open) => {
    opening = open;
    return begin();
  });
}
