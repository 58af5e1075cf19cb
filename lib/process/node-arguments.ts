// Turns the arguments of Node's `server.listen` and `socket.bind`, in all their forms, into options of `handover.listen`.
import { isHandle } from '../sockets/listening.js';
import type { ListenOptions } from './types.js';

type Callback = () => void;

/** What a call asks for. */
export interface Asked {
  readonly options: ListenOptions;
  readonly callback: Callback | undefined;
  /** Path of a Unix socket as the app gave it, for `server.address()`. */
  readonly path: string | undefined;
}

/**
 * Reads the arguments as Node does (`normalizeArgs` and `Server.prototype.listen` in lib/net.js). Undefined for calls that
 * Node must handle itself: with a descriptor, a handle or an abort signal, and with arguments that Node refuses.
 */
export function parseListen(args: readonly unknown[]): Asked | undefined {
  const [first, second, third] = args;
  const callback = callbackOf(args);
  const backlog = toCount(second) ?? toCount(third);
  if (typeof first === 'object' && first !== null) return fromObject(first, callback, backlog);
  if (typeof first === 'string' && isPath(first)) return atPath(first, callback, { ...backlogOf(backlog) });
  const port = first === undefined || first === null || typeof first === 'function' ? 0 : toPort(first);
  if (port === undefined) return undefined;
  return { options: { port, ...hostOf(second), ...backlogOf(backlog) }, callback, path: undefined };
}

function fromObject(asked: object, callback: Callback | undefined, count: number | undefined): Asked | undefined {
  const options = asked as Record<string, unknown>;
  const { port, host, path, backlog, ipv6Only, reusePort, readableAll, writableAll, fd, signal } = options;
  if (isHandle(asked) || fd !== undefined || signal !== undefined) return undefined;
  const common = { ...backlogOf(toCount(backlog) ?? count) };
  if (port !== undefined || 'port' in asked) {
    const number = port === undefined || port === null ? 0 : toPort(port);
    if (number === undefined || (host && typeof host !== 'string')) return undefined;
    const flags = { ...(ipv6Only === true && { ipv6Only }), ...(reusePort === true && { reusePort }) };
    return { options: { port: number, ...hostOf(host), ...flags, ...common }, callback, path: undefined };
  }
  if (typeof path !== 'string' || !isPath(path)) return undefined;
  const mode = (readableAll ? 0o444 : 0) | (writableAll ? 0o222 : 0);
  // These bits are added to the mode of the umask, as on Node 20; later versions set only these bits, and the owner lacks
  // the rest.
  return atPath(path, callback, { ...common, ...(mode > 0 && { mode: (0o777 & ~process.umask()) | mode }) });
}

function atPath(path: string, callback: Callback | undefined, options: ListenOptions): Asked {
  return path.startsWith('\0')
    ? { options: { abstract: path.slice(1), ...withoutMode(options) }, callback, path }
    : { options: { path, ...options }, callback, path };
}

function withoutMode({ mode: _, ...options }: ListenOptions): ListenOptions {
  return options;
}

/** Whether Node takes the text for a path, not for a port. */
function isPath(text: string): boolean {
  return text !== '' && !(Number(text) >= 0);
}

function toPort(value: unknown): number | undefined {
  if (typeof value !== 'number' && (typeof value !== 'string' || value.trim() === '')) return undefined;
  const port = Number(value);
  return Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : undefined;
}

function toCount(value: unknown): number | undefined {
  const count = typeof value === 'number' || typeof value === 'string' ? Number(value) : 0;
  return Number.isInteger(count) && count > 0 ? count : undefined;
}

function hostOf(host: unknown): { readonly host?: string } {
  return typeof host === 'string' && host !== '' ? { host } : {};
}

function backlogOf(backlog: number | undefined): { readonly backlog?: number } {
  return backlog === undefined ? {} : { backlog };
}

function callbackOf(args: readonly unknown[]): Callback | undefined {
  const last = args.at(-1);
  return typeof last === 'function' ? (last as Callback) : undefined;
}

/**
 * Reads the arguments as `Socket.prototype.bind` in lib/dgram.js does. Undefined for calls that Node must handle itself:
 * with a descriptor or a handle, exclusive, or without a port. A socket without a port only sends: Node binds it
 * exclusively to a port that the kernel chooses, and no successor could go on with it.
 */
export function parseBind(args: readonly unknown[]): Asked | undefined {
  const [first, second] = args;
  const isObject = typeof first === 'object' && first !== null;
  const { port, address, fd, exclusive } = (isObject ? first : { port: first, address: second }) as Record<
    string,
    unknown
  >;
  if (isObject && (isHandle(first) || fd !== undefined || exclusive === true)) return undefined;
  const number = toPort(port);
  if (number === undefined || number === 0) return undefined;
  return { options: { port: number, ...hostOf(address) }, callback: callbackOf(args), path: undefined };
}
