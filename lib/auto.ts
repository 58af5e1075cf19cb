// `node --import handover/auto server.js`: a server that knows nothing of this package hands over. What it listens on is
// claimed or bound by the handover, in the words of Node's own `listen` and `bind`.
import { Socket as DatagramSocket } from 'node:dgram';
import { Server } from 'node:net';
import { exitWhenClosed, installSignals } from './ending.js';
import { HandoverError, typeError } from './errors.js';
import { openHandover } from './handover/open.js';
import { HANDOVER_OPTIONS } from './handover/options.js';
import type { Handover, ListenOptions } from './handover/types.js';
import { logHandover, stderrLogger } from './observe/log.js';
import { checkServeOptions, pick, type ServeOptions } from './serve.js';

/** How long no further `listen` may come before what the predecessor handed over and nobody wants is closed. */
const QUIET = 1_000;

/** Options of `serve()` that make sense without code, as JSON. */
const VARIABLE = 'HANDOVER_AUTO';

type Callback = () => void;

/** Node's arguments of `listen` or `bind`; undefined where they are not about an address, and Node must see to them. */
interface Asked {
  readonly options: ListenOptions;
  readonly callback: Callback | undefined;
}

function readOptions(): unknown {
  const text = process.env[VARIABLE];
  if (text === undefined || text === '') return {};
  try {
    return JSON.parse(text);
  } catch {
    throw typeError(VARIABLE, 'options of serve() as JSON, such as {"drainTimeout":10000}', text);
  }
}

class AutoHandover {
  readonly #handover: Handover;
  #isReady = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(handover: Handover) {
    this.#handover = handover;
  }

  listen(listener: Server | DatagramSocket, { options, callback }: Asked): void {
    if (callback) listener.once('listening', callback);
    this.#handover.listen(listener, options).then(
      () => this.#becomeReadySoon(),
      (error: Error) => listener.emit('error', plain(error)),
    );
  }

  /** The app may open more: the predecessor's other listeners wait for it so long. */
  #becomeReadySoon(): void {
    if (this.#isReady) return;
    clearTimeout(this.#timer);
    const delay = this.#handover.generation === 1 ? 0 : QUIET;
    this.#timer = setTimeout(() => this.#becomeReady(), delay);
  }

  #becomeReady(): void {
    this.#isReady = true;
    // A predecessor that took everything back ends this process by `closed`.
    this.#handover.ready().catch(() => {});
  }
}

/** Apps know Node's errors: EADDRINUSE stays what it is where there is one. */
function plain(error: Error): Error {
  return error instanceof HandoverError && error.cause instanceof Error ? error.cause : error;
}

/** The arguments of `server.listen`, as the documentation of net lists them. */
export function parseListenArguments(args: readonly unknown[]): Asked | undefined {
  const callback = args.find((arg): arg is Callback => typeof arg === 'function');
  const [first, second, third] = args.filter((arg) => typeof arg !== 'function');
  const numbers = (...values: unknown[]): number | undefined =>
    values.find((value) => typeof value === 'number') as number | undefined;
  if (first === undefined || first === null || first === 0) {
    if (first === 0 || args.length <= 1)
      return { options: { port: 0, ...hostOf(second), ...backlogOf(numbers(second, third)) }, callback };
    return undefined;
  }
  if (isPort(first))
    return { options: { port: Number(first), ...hostOf(second), ...backlogOf(numbers(second, third)) }, callback };
  if (typeof first === 'string') return { options: { ...pathOf(first), ...backlogOf(numbers(second)) }, callback };
  return fromObject(first, callback);
}

function fromObject(asked: unknown, callback: Callback | undefined): Asked | undefined {
  if (typeof asked !== 'object' || asked === null) return undefined;
  const { port, host, path, backlog, ipv6Only, fd, _handle, signal, readableAll, writableAll } = asked as Record<
    string,
    unknown
  >;
  // What is a descriptor already, or ends by a signal, or asks for modes: Node's own business.
  if (fd !== undefined || _handle !== undefined || signal !== undefined || readableAll || writableAll) return undefined;
  const common = { ...backlogOf(backlog), ...(ipv6Only === true && { ipv6Only }) };
  if (isPort(port) || port === 0) return { options: { port: Number(port), ...hostOf(host), ...common }, callback };
  if (typeof path === 'string') return { options: { ...pathOf(path), ...common }, callback };
  return undefined;
}

function isPort(value: unknown): boolean {
  return (typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value))) && Number(value) > 0;
}

function hostOf(host: unknown): { readonly host?: string } {
  return typeof host === 'string' && host !== '' ? { host } : {};
}

function backlogOf(backlog: unknown): { readonly backlog?: number } {
  return typeof backlog === 'number' && backlog > 0 ? { backlog } : {};
}

function pathOf(path: string): { readonly path: string } | { readonly abstract: string } {
  return path.startsWith('\0') ? { abstract: path.slice(1) } : { path };
}

/** The arguments of `socket.bind`, as the documentation of dgram lists them. */
export function parseBindArguments(args: readonly unknown[]): Asked | undefined {
  const callback = args.find((arg): arg is Callback => typeof arg === 'function');
  const [first, second] = args.filter((arg) => typeof arg !== 'function');
  if (typeof first === 'object' && first !== null) {
    const { port = 0, address, fd, exclusive } = first as Record<string, unknown>;
    if (fd !== undefined || exclusive === true) return undefined;
    return { options: { port: Number(port), ...hostOf(address) }, callback };
  }
  return { options: { port: Number(first ?? 0), ...hostOf(second) }, callback };
}

/** From here on `listen` and `bind` go through the handover, but for calls of its own. */
function install(auto: AutoHandover): void {
  const { listen } = Server.prototype;
  const { bind } = DatagramSocket.prototype;
  Server.prototype.listen = function (this: Server, ...args: unknown[]): Server {
    const asked = parseListenArguments(args);
    if (!asked) return Reflect.apply(listen, this, args) as Server;
    auto.listen(this, asked);
    return this;
  };
  DatagramSocket.prototype.bind = function (this: DatagramSocket, ...args: unknown[]): DatagramSocket {
    const asked = parseBindArguments(args);
    if (!asked) return Reflect.apply(bind, this, args) as DatagramSocket;
    auto.listen(this, asked);
    return this;
  };
}

const { signals, log, ...options } = checkServeOptions(readOptions() as ServeOptions);
if (log) logHandover(log === true ? stderrLogger : log);
const handover = await openHandover(pick(options, HANDOVER_OPTIONS));
if (signals) installSignals(handover, signals);
exitWhenClosed(handover);
install(new AutoHandover(handover));
