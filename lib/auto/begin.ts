// `handover/auto`, from the moment it is loaded: what the app listens on is claimed or bound by the handover, in the words of
// Node's own `listen` and `bind`.
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

/** Of all copies of this file in a process: a bundle has its own. */
const BEGUN = Symbol.for('handover.auto');

/** An app that tries a port by listening and closing listens again within this time. */
const SETTLE = 50;

/** A port is bound twice in one process only by reusePort, port 0, or mistake: the kernel decides, not the name. */
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
  /** Those that are being opened, and their names. */
  readonly #opening = new Map<Listener, string>();
  readonly #listening = new Set<Listener>();
  /** Listeners of 'connection' that are not the app's: one each time a server listens. */
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
    // The app may await one 'listening' before it opens the next: none can wait for ready().
    handover.announceAtOnce();
    if (handover.generation > 1) this.#acceptConnections = refuseUnclaimed(() => handover.unclaimedSockets);
  }

  /** Whether a call comes from the handover itself. */
  isOpening(listener: Listener): boolean {
    return this.#opening.has(listener);
  }

  /** What is opened once another process is in charge, or this one ends, is none of a successor's. */
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
          // Out of the promise: where nobody listens for it, it is an uncaught exception, as Node's is.
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
   * What is opened long after the start (for one session of FTP, say) is nothing that a successor opens at its start: it may
   * leave it.
   */
  get #isLate(): boolean {
    return this.#readyAt !== undefined && performance.now() - this.#readyAt > this.#setting.claimTimeout;
  }

  /** A server without any handler tries whether it could listen; a client that it accepted would be lost. */
  #isProbe(listener: Listener): boolean {
    const additions = ['closeIdleConnections', 'setSecureContext', 'updateSettings'];
    if (!(listener instanceof Server) || additions.some((name) => name in listener)) return false;
    return listener.listenerCount('connection') <= (this.#own.get(listener) ?? 0);
  }

  /** Whether the app has opened what is to be expected. */
  get #isWhole(): boolean {
    const { generation = 1, unclaimed = [] } = this.#handover ?? {};
    const probes = [...this.#listening].filter((listener) => this.#isProbe(listener));
    return generation === 1 ? probes.length < this.#listening.size : unclaimed.length === 0 && probes.length === 0;
  }

  /** The app may open more: the predecessor's other listeners wait for it so long. */
  #becomeReadySoon(): void {
    const { generation } = this.#handover as InternalHandover;
    if (this.#readyAt !== undefined || this.#opening.size > 0) return;
    clearTimeout(this.#timer);
    const isWhole = this.#isWhole;
    const settle = generation === 1 && isWhole ? 0 : SETTLE;
    // A first process with nothing open has only tried.
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
      // The predecessor took everything back, or this process was told to end: it does (see exitWhenClosed).
      if (!handover.closing.aborted) throwOutside(error);
    });
  }
}

/** Out of the promise: an uncaught exception. */
export function throwOutside(error: Error): void {
  process.nextTick(() => {
    throw error;
  });
}

/** Apps know Node's errors: EADDRINUSE of 'listen'. What the handover says about it is the cause. */
function asNodes(error: Error, listener: Listener): Error {
  const cause = error instanceof HandoverError ? error.cause : error;
  if (!(cause instanceof Error) || !('errno' in cause)) return error;
  const { errno, address, port, path } = cause as { errno: number; address?: string; port?: number; path?: string };
  const syscall = listener instanceof Server ? 'listen' : 'bind';
  return Object.assign(systemError(errno, syscall, { address, port, path }), { cause: error });
}

/** From here on `listen` and `bind` go through the handover, but for calls of its own and what Node must see to. */
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
    // Whoever shares the port binds beside its predecessor.
    if (!asked || reuseAddr || reusePort) return Reflect.apply(bind, this, args) as DatagramSocket;
    const options = { ...asked.options, ...(ipv6Only === true && { ipv6Only }) };
    postponeListening(this, () => auto.listen(this, { ...asked, options }));
    return this;
  };
}

/** A socket in the temporary directory that is named by this process' pid is for its own children: tsx has one. */
function isOwnPath({ path }: Asked): boolean {
  const folder = tmpdir() + sep;
  return path?.startsWith(folder) === true && path.slice(folder.length).split(/\D+/).includes(String(process.pid));
}

/** The listeners of node:cluster are its own; the primary opens them by the same `listen`. */
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

/** Bound to a descriptor, a datagram socket says so at once (FACTS N12); apps add their handler after `bind()`. */
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

/** Threads, workers of node:cluster, and processes that the server starts by `fork()` preload this file, too. */
function isServer(): boolean {
  const { [PID_VARIABLE]: server, [SUPERVISOR_VARIABLE]: supervisor } = process.env;
  const isStartedByServer = server !== undefined && !hasPredecessor && supervisor === undefined;
  return isMainThread && !cluster.isWorker && !isStartedByServer;
}

/**
 * Begins in this process, once, whoever asks for it: `--import` and a bundle may both. What is returned settles when all is there
 * that a predecessor hands over: an app that starts before that listens later than it asked to.
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
  // Whoever was started by a predecessor is its successor; else the role is that of the process that listens: this one, or one
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
