// How a connection enters an HTTP/1 server: by Node's own listener of 'connection', or by way of the app's code.
import { Server as HttpServer } from 'node:http';
import type { Server, Socket } from 'node:net';
import { emitBehind } from './withhold.js';

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
