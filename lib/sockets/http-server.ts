// What Node's HTTP/1 knows of a connection: its request, its response, whether it is idle, and how it enters its server.
import { Server as HttpServer, IncomingMessage, type ServerResponse } from 'node:http';
import { type Server, Socket } from 'node:net';
import { override } from './override.js';
import { emitBehind } from './withhold.js';

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

type Listener = (this: Server, socket: Socket) => void;

let nodesOwn: Listener | undefined;

/** The listener that every server of node:http gets from its constructor; one function for all of them. */
function nodesListener(): Listener | undefined {
  nodesOwn ??= new HttpServer().listeners('connection')[0] as Listener | undefined;
  return nodesOwn;
}

/**
 * Whether a connection meets Node's HTTP before any code of the app. Otherwise the app has taken something off it first (a
 * PROXY line, a handshake) or knows something of it, which is not there again when the connection comes a second time: the
 * app's listener is first or instead, or an `emit` of the server's own decides what becomes of it. One that is replaced for
 * all servers (tracing does that) is not the server's own. Listeners after Node's, which count and keep sockets, see a
 * connection that has moved as they see a new one.
 */
export function entersHttpFirst(server: Server): boolean {
  const [first] = server.listeners('connection');
  return first !== undefined && first === nodesListener() && emitBehind(server) === HttpServer.prototype.emit;
}

/** Has Node's HTTP read the connection, past the listeners of the app. False: this Node has no such listener. */
export function enterHttp(server: Server, socket: Socket): boolean {
  const listener = nodesListener();
  listener?.call(server, socket);
  return listener !== undefined;
}
