// Everything that leans on Node's internals, in one place. Each is looked for at run time; where it is missing the
// caller gets undefined or false, and drains instead.
import cluster from 'node:cluster';
import type { Socket as DatagramSocket } from 'node:dgram';
import { IncomingMessage, type ServerResponse } from 'node:http';
import { Server, Socket, type SocketConstructorOpts } from 'node:net';
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';

/**
 * Stops accepting and leaves every connection as it is: `http.Server.close()` would destroy the idle ones, this is what
 * it inherits (FACTS N6). The handle is closed at once; the server's 'close' comes with its last connection.
 */
export function stopAccepting(server: Server): void {
  Server.prototype.close.call(server);
}

/** The response an HTTP/1 connection is working on; undefined where it is idle, or is no HTTP connection. */
export function currentResponse(socket: Socket): ServerResponse | undefined {
  const { _httpMessage: message } = socket as { _httpMessage?: unknown };
  return typeof message === 'object' && message !== null ? (message as ServerResponse) : undefined;
}

/** The last request an HTTP/1 connection has read the head of; its body may still be coming, also after the response. */
export function currentRequest(socket: Socket): IncomingMessage | undefined {
  const { parser } = socket as { parser?: { incoming?: unknown } | null };
  return parser?.incoming instanceof IncomingMessage ? parser.incoming : undefined;
}

/**
 * The HTTP/1 connections of a server that are between two requests, named by Node's own parser: `closeIdleConnections()`
 * destroys them, and for this one synchronous call destroying them only names them. It also names connections whose
 * response is still being written and, in the tick of `res.end()`, ones with a pipelined request waiting (FACTS C3): so
 * the three further conditions, and a macrotask.
 */
export function idleHttpConnections(server: Server, sockets: Iterable<Socket>): Socket[] {
  const { closeIdleConnections } = server as { closeIdleConnections?: () => void };
  if (typeof closeIdleConnections !== 'function') return [];
  const named = new Set<Socket>();
  const former = Object.getOwnPropertyDescriptor(Socket.prototype, 'destroy');
  const name = function (this: Socket): Socket {
    named.add(this);
    return this;
  };
  Object.defineProperty(Socket.prototype, 'destroy', { value: name, configurable: true, writable: true });
  try {
    closeIdleConnections.call(server);
  } finally {
    if (former) Object.defineProperty(Socket.prototype, 'destroy', former);
    else Reflect.deleteProperty(Socket.prototype, 'destroy');
  }
  // One that never sent a byte is not named on Node 20 to 24.
  const isFresh = (socket: Socket): boolean => socket.bytesRead === 0 && !isUpgraded(socket);
  return [...sockets].filter((socket) => (named.has(socket) || isFresh(socket)) && isQuiet(socket));
}

/** Nothing is being answered, written, or waiting to be read, and this side has not ended it. */
export function isQuiet(socket: Socket): boolean {
  if (socket.destroyed || socket.writableEnded || currentResponse(socket)) return false;
  return socket.writableLength === 0 && socket.readableLength === 0;
}

/** Whether an HTTP/1 connection speaks something else by now: Node has taken its parser away. */
export function isUpgraded(socket: Socket): boolean {
  return (socket as { parser?: unknown }).parser === null;
}

/** The socket a TLS socket reads from and writes to. */
export function encryptedSide(socket: Socket): Socket | undefined {
  const { _parent: parent } = socket as { _parent?: unknown };
  return parent instanceof Socket ? parent : undefined;
}

/** The descriptor of a connection; it stays the socket's. */
export function descriptorOf(socket: Socket): number | undefined {
  return streamHandle(socket)?.fd;
}

/** Bytes of the writes under way that the kernel has not taken yet: `bytesWritten` counts them. */
export function queuedBytes(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: unknown } | null };
  return typeof handle?.writeQueueSize === 'number' ? handle.writeQueueSize : 0;
}

export interface StreamHandle {
  readonly fd: number;
  readStart(): number;
  readStop(): number;
}

/** The handle of a connected socket, with its descriptor. */
export function streamHandle(socket: Socket): StreamHandle | undefined {
  const { _handle: handle } = socket as { _handle?: Partial<StreamHandle> | null };
  const isKnown =
    typeof handle?.readStop === 'function' && typeof handle.readStart === 'function' && typeof handle.fd === 'number';
  return isKnown && (handle.fd ?? -1) >= 0 ? (handle as StreamHandle) : undefined;
}

interface ReadingHandle extends StreamHandle {
  /** Set by Node: whether the stream wants to read. */
  reading?: boolean;
  readStart(): number;
}

/**
 * Stops a socket from reading, also where Node would start it again (HTTP does when a body has been read); what comes waits
 * in the kernel. False: this Node cannot.
 */
export function stopReading(socket: Socket): boolean {
  const handle = streamHandle(socket) as ReadingHandle | undefined;
  if (handle?.readStop() !== 0) return false;
  handle.readStart = () => 0;
  return true;
}

/** Undoes {@link stopReading}: it reads if Node wants it to by now. */
export function startReading(socket: Socket): void {
  const handle = streamHandle(socket) as ReadingHandle | undefined;
  if (!handle) return;
  Reflect.deleteProperty(handle, 'readStart');
  if (handle.reading !== false) handle.readStart();
}

const fenced = new WeakMap<Socket, PropertyDescriptor | undefined>();

/**
 * Stops a socket from reading and writing and tells its descriptor, which stays the socket's; undefined where this Node
 * cannot. Node itself would write: a 408 to a connection whose first request does not come in time.
 */
export function detachSocket(socket: Socket): number | undefined {
  if (!stopReading(socket)) return undefined;
  fenced.set(socket, Object.getOwnPropertyDescriptor(socket, 'write'));
  Object.defineProperty(socket, 'write', { value: () => true, configurable: true, writable: true });
  return descriptorOf(socket);
}

/** Whether {@link detachSocket} was called for it, and not undone. */
export function isDetached(socket: Socket): boolean {
  return fenced.has(socket);
}

/** Undoes {@link detachSocket}. */
export function reattachSocket(socket: Socket): void {
  const former = fenced.get(socket);
  if (former) Object.defineProperty(socket, 'write', former);
  else if (fenced.has(socket)) Reflect.deleteProperty(socket, 'write');
  fenced.delete(socket);
  startReading(socket);
}

/** Counts a connection the server did not accept, so that `close()`, `getConnections` and `maxConnections` know it (C3b). */
export function countConnection(server: Server, socket: Socket): void {
  const counting = server as { _connections?: number };
  if (typeof counting._connections !== 'number' || !('_server' in socket)) return;
  counting._connections += 1;
  (socket as { _server: Server | null })._server = server;
}

/** Whether `listen` or `bind` would take this for a handle of libuv, or for an object that has one. */
export function isHandle(value: object): boolean {
  // First: reading `_handle` of a datagram socket warns.
  if ('listen' in value || 'recvStart' in value) return true;
  const { _handle, handle } = value as { _handle?: unknown; handle?: unknown };
  return _handle !== undefined || handle !== undefined;
}

/** Has `address()` tell the path a server listens on by a descriptor, as it does where Node has bound it (FACTS N4). */
export function nameListenPath(server: Server, path: string): void {
  (server as { _pipeName?: string })._pipeName = path;
}

interface StreamHandleClass {
  new (type: number): { open(fd: number): number; close(): void; getAsyncId?(): number };
}

/** `TCPConstants.SOCKET` and `PipeConstants.SOCKET`: a connection, not a listener. */
const CONNECTION = 0;

/**
 * A socket of a connection that a listener like this server's has accepted; owns the descriptor. `new Socket({ fd })` asks
 * the kernel what the descriptor is, by four system calls; here it is what the server listens on: TCP, or a pipe.
 * @throws the system's error
 */
export function socketOf(server: Server, fd: number, options: SocketConstructorOpts): Socket {
  const { _handle: listening } = server as { _handle?: { constructor?: unknown } | null };
  const Handle = listening?.constructor as StreamHandleClass | undefined;
  if (typeof Handle !== 'function' || (Handle.name !== 'TCP' && Handle.name !== 'Pipe'))
    return new Socket({ ...options, fd });
  const handle = new Handle(CONNECTION);
  if (typeof handle.open !== 'function' || handle.open(fd) !== 0) {
    handle.close();
    return new Socket({ ...options, fd });
  }
  return new Socket({ ...options, handle } as SocketConstructorOpts);
}

interface DatagramHandle {
  recvStart(): number;
  recvStop(): number;
}

/**
 * The handle of a datagram socket. Node 26 has no `_handle` on it any more, and in 20 to 24 reading it warns; the state
 * symbol is there in all (FACTS N9).
 */
function datagramHandle(socket: DatagramSocket): DatagramHandle | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  if (!symbol) return undefined;
  const state = (socket as unknown as Record<symbol, { handle?: Partial<DatagramHandle> | null }>)[symbol];
  const handle = state?.handle;
  const isKnown = typeof handle?.recvStop === 'function' && typeof handle.recvStart === 'function';
  return isKnown ? (handle as DatagramHandle) : undefined;
}

/** Options a datagram socket was created with, which count when it is bound. */
export interface DatagramOptions {
  readonly reuseAddr?: unknown;
  readonly reusePort?: unknown;
  readonly ipv6Only?: unknown;
}

/** Undefined where this Node does not tell. */
export function datagramOptions(socket: DatagramSocket): DatagramOptions | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return symbol && (socket as unknown as Record<symbol, DatagramOptions>)[symbol];
}

/** Stops reading datagrams; the socket can still send. False: this Node cannot, and the socket reads on. */
export function stopReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStop() === 0;
}

/** Undoes {@link stopReceiving}. */
export function startReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStart() === 0;
}

/** Listens here and now also in a cluster worker, where Node would look the descriptor up in its primary (FACTS N7). */
export function outsideCluster(listen: () => void): void {
  const mutable = cluster as { isPrimary: boolean };
  const { isPrimary } = mutable;
  mutable.isPrimary = true;
  try {
    listen();
  } finally {
    mutable.isPrimary = isPrimary;
  }
}

interface SecureServer {
  readonly ticketKeys?: unknown;
  sessionIdContext?: unknown;
  readonly _sharedCreds?: { readonly context?: { setSessionIdContext?: (context: string) => void } };
}

/** Whether the app gave the option `ticketKeys`. */
export function hasOwnTicketKeys(server: TlsServer): boolean {
  return (server as SecureServer).ticketKeys !== undefined;
}

/** The session id context a server was made with: the app's option, or Node's default. */
export function sessionIdContextOf(server: TlsServer): string | undefined {
  const { sessionIdContext } = server as SecureServer;
  return typeof sessionIdContext === 'string' ? sessionIdContext : undefined;
}

/** Gives a server another one, for the handshakes to come. False: this Node cannot, and sessions may not be resumed. */
export function setSessionIdContext(server: TlsServer, sessionIdContext: string): boolean {
  const secure = server as SecureServer;
  const context = secure._sharedCreds?.context;
  if (typeof context?.setSessionIdContext !== 'function') return false;
  context.setSessionIdContext(sessionIdContext);
  secure.sessionIdContext = sessionIdContext;
  return true;
}

/** TLS options that stay when key and certificate are others: `setSecureContext` forgets what it is not told again. */
const KEPT_OPTIONS = [
  'crl',
  'sigalgs',
  'ciphers',
  'ecdhCurve',
  'dhparam',
  'minVersion',
  'maxVersion',
  'secureProtocol',
  'secureOptions',
  'honorCipherOrder',
  'sessionIdContext',
  'sessionTimeout',
  'certificateCompression',
] as const;

/** What a TLS server was made with, but for its key, certificate and authorities. */
export function secureOptionsOf(server: TlsServer): SecureContextOptions {
  const source = server as unknown as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    KEPT_OPTIONS.map((name) => [name, source[name]]).filter(([, value]) => value !== undefined),
  );
}

/** The authorities of a TLS server, and whether clients are verified by them. */
export function authoritiesOf(server: TlsServer): {
  readonly verifies: boolean;
  readonly ca: string | Buffer | (string | Buffer)[] | undefined;
} {
  const { requestCert, ca } = server as { requestCert?: unknown; ca?: string | Buffer | (string | Buffer)[] };
  return { verifies: requestCert === true, ca };
}
