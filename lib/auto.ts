// `node --import handover/auto server.js`: a server that knows nothing of this package hands over. What it listens on is
// claimed or bound by the handover, in the words of Node's own `listen` and `bind`.
import cluster from 'node:cluster';
import { Socket as DatagramSocket } from 'node:dgram';
import { Server } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { datagramOptions, nameListenPath } from './connections/node-internals.js';
import { exitWhenClosed, installSignals } from './ending.js';
import { HandoverError, hasCode, systemError, typeError } from './errors.js';
import { expectInteger } from './fd/arguments.js';
import { placeOf } from './handover/listening.js';
import { type Asked, parseBind, parseListen } from './handover/node-arguments.js';
import { hasPredecessor, type Preloaded } from './handover/open.js';
import { HANDOVER_OPTIONS } from './handover/options.js';
import { SUPERVISOR_VARIABLE } from './handover/supervisor-way.js';
import type { Listener } from './handover/types.js';
import { openPreloaded } from './observed.js';
import { sayWhatHappens } from './saying.js';
import { type CheckedServeOptions, checkServeOptions, pick, type ServeOptions } from './serve.js';

/** Options, as JSON. */
const OPTIONS_VARIABLE = 'HANDOVER_AUTO';

/** The process that hands over by itself: what it starts inherits the variable, and its `--import`. */
const PID_VARIABLE = 'HANDOVER_AUTO_PID';

/** How long no further `listen` may come before what was inherited and nobody claimed is closed. */
const CLAIM_TIMEOUT = 5_000;

/** An app that tries a port by listening and closing listens again within this time. */
const SETTLE = 50;

/** A port is bound twice in one process only by reusePort, port 0, or mistake: the kernel decides, not the name. */
function freeName(canonical: string, isTaken: (name: string) => boolean): string {
  for (let count = 1; ; count++) {
    const name = count === 1 ? canonical : `${canonical}#${count}`;
    if (!isTaken(name)) return name;
  }
}

class AutoHandover {
  readonly #handover: Preloaded;
  readonly #claimTimeout: number;
  /** Those that are being opened, and their names. */
  readonly #opening = new Map<Listener, string>();
  #isReady = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(handover: Preloaded, claimTimeout: number) {
    this.#handover = handover;
    this.#claimTimeout = claimTimeout;
    // The app may await one 'listening' before it opens the next: none can wait for ready().
    handover.acceptAtOnce();
  }

  /** Whether a call comes from the handover itself. */
  isOpening(listener: Listener): boolean {
    return this.#opening.has(listener);
  }

  /** What is opened once another process is in charge, or this one ends, is none of a successor's. */
  get isOver(): boolean {
    return !this.#handover.handsOver;
  }

  listen(listener: Listener, { options, callback, path }: Asked): void {
    const { canonical } = placeOf(listener, options);
    const taken = [...this.#opening.values()];
    const name = freeName(canonical, (name) => taken.includes(name) || this.#handover.isListening(name));
    if (callback) listener.once('listening', callback);
    if (path !== undefined) nameListenPath(listener as Server, path);
    clearTimeout(this.#timer);
    this.#opening.set(listener, name);
    this.#handover
      .listen(listener, { ...options, name })
      .finally(() => this.#opening.delete(listener))
      .then(
        () => this.#becomeReadySoon(),
        (error: Error) => {
          if (callback) listener.off('listening', callback);
          // Out of the promise: where nobody listens for it, it is an uncaught exception, as Node's is.
          process.nextTick(() => listener.emit('error', asNodes(error, listener)));
        },
      );
  }

  /** The app may open more: the predecessor's other listeners wait for it so long. */
  #becomeReadySoon(): void {
    if (this.#isReady || this.#opening.size > 0) return;
    clearTimeout(this.#timer);
    const isWhole = this.#handover.unclaimed.length === 0;
    const settle = this.#handover.generation === 1 ? 0 : SETTLE;
    const delay = isWhole ? settle : this.#claimTimeout;
    this.#timer = setTimeout(() => {
      if (isWhole && this.#handover.unclaimed.length > 0) this.#becomeReadySoon();
      else this.#becomeReady();
    }, delay);
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#handover.ready().catch((error: Error) => {
      // The predecessor took everything back, or this process was told to end: it does (see exitWhenClosed).
      if (this.#handover.closing.aborted) return;
      process.nextTick(() => {
        throw error;
      });
    });
  }
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
    if (!asked) return Reflect.apply(listen, this, args) as Server;
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

interface AutoOptions extends CheckedServeOptions {
  readonly claimTimeout: number;
}

function readOptions(): AutoOptions {
  const { [OPTIONS_VARIABLE]: text } = process.env;
  const { claimTimeout = CLAIM_TIMEOUT, ...options } = parseOptions(text || '{}');
  const known = [...HANDOVER_OPTIONS, 'signals', 'log'];
  const unknown = Object.keys(options).filter((key) => !known.includes(key));
  if (unknown.length > 0) throw typeError(OPTIONS_VARIABLE, `options among ${known.join(', ')}, claimTimeout`, unknown);
  const checked = checkServeOptions(options as ServeOptions);
  return { ...checked, claimTimeout: expectInteger(`${OPTIONS_VARIABLE}.claimTimeout`, claimTimeout, 0) };
}

function parseOptions(text: string): Record<string, unknown> {
  try {
    const options: unknown = JSON.parse(text);
    if (typeof options === 'object' && options !== null) return options as Record<string, unknown>;
  } catch {}
  throw typeError(OPTIONS_VARIABLE, 'a JSON object of options, such as {"drainTimeout":10000}', text);
}

if (isServer()) {
  const { signals, log, claimTimeout, ...options } = readOptions();
  sayWhatHappens(log);
  process.env[PID_VARIABLE] = String(process.pid);
  const handover = await openPreloaded(pick(options, HANDOVER_OPTIONS));
  if (signals) installSignals(handover, signals);
  exitWhenClosed(handover);
  install(new AutoHandover(handover, claimTimeout));
}
