// The state of a connection in Node's HTTP/1: its request, its response, whether it is idle, and how it enters its server.
import { Server as HttpServer, IncomingMessage, type ServerResponse } from 'node:http';
import { type Server, Socket } from 'node:net';
import { override } from './override.js';
import { emitBehind } from './withhold.js';

/** The response that is under way on an HTTP/1 connection; undefined where there is none, or the connection is not HTTP. */
export function currentResponse(socket: Socket): ServerResponse | undefined {
  const { _httpMessage: message } = socket as { _httpMessage?: unknown };
  return typeof message === 'object' && message !== null ? (message as ServerResponse) : undefined;
}

/** The last request whose head was read from an HTTP/1 connection. Its body may still be coming, also after the response. */
export function currentRequest(socket: Socket): IncomingMessage | undefined {
  const { parser } = socket as { parser?: { incoming?: unknown } | null };
  return parser?.incoming instanceof IncomingMessage ? parser.incoming : undefined;
}

/**
 * The HTTP/1 connections of a server that are between two requests, as Node's own parser sees them: `closeIdleConnections()`
 * destroys them, and `destroy` is replaced for this one synchronous call, so that it only collects them. Node also names
 * connections whose response is still being written and, in the tick of `res.end()`, connections with a pipelined request
 * waiting (FACTS C3). So the result is filtered by {@link isQuiet}, and the caller must call this from a macrotask.
 */
export function idleHttpConnections(server: Server, sockets: Iterable<Socket>): Socket[] {
  const { closeIdleConnections } = server as { closeIdleConnections?: () => void };
  if (typeof closeIdleConnections !== 'function') return [];
  const named = new Set<Socket>();
  const restore = override(Socket.prototype, {
    destroy: {
      value(this: Socket): Socket {
        named.add(this);
        return this;
      },
    },
  });
  try {
    closeIdleConnections.call(server);
  } finally {
    restore();
  }
  // Node 20 to 24 do not name a connection that never sent a byte.
  const isFresh = (socket: Socket): boolean => socket.bytesRead === 0 && !isUpgraded(socket);
  return [...sockets].filter((socket) => (named.has(socket) || isFresh(socket)) && isQuiet(socket));
}

/** Whether no response is under way, no byte waits to be written or read, and this process has not ended the connection. */
export function isQuiet(socket: Socket): boolean {
  if (socket.destroyed || socket.writableEnded || currentResponse(socket)) return false;
  return socket.writableLength === 0 && socket.readableLength === 0;
}

/** Whether an HTTP/1 connection was upgraded to another protocol: Node then sets its parser to null (FACTS C3f). */
export function isUpgraded(socket: Socket): boolean {
  return (socket as { parser?: unknown }).parser === null;
}

type Listener = (this: Server, socket: Socket) => void;

let nodesOwn: Listener | undefined;

/** The listener of 'connection' that the constructor of node:http adds to every server. It is the same function in all. */
function nodesListener(): Listener | undefined {
  nodesOwn ??= new HttpServer().listeners('connection')[0] as Listener | undefined;
  return nodesOwn;
}

/**
 * Whether a connection meets Node's HTTP before any code of the app. False: the app has a listener before or instead of
 * Node's, or has given the server an `emit` of its own. Such an app may have read the beginning of the connection (a PROXY
 * line, a handshake), which does not come again when the connection enters a second server. An `emit` that is replaced for
 * all servers, as tracing does it, is accepted. App listeners behind Node's, which count and keep sockets, get a migrated
 * connection as they get a new one.
 */
export function entersHttpFirst(server: Server): boolean {
  const [first] = server.listeners('connection');
  return first !== undefined && first === nodesListener() && emitBehind(server) === HttpServer.prototype.emit;
}

/** Gives a connection to Node's HTTP, without the app's listeners of 'connection'. False: this Node has no such listener. */
export function enterHttp(server: Server, socket: Socket): boolean {
  const listener = nodesListener();
  listener?.call(server, socket);
  return listener !== undefined;
}
