// The polite end of an HTTP/1 connection: the last response that is being made says `Connection: close`. An idle
// connection is left alone until its next request, because closing it races with that request.
import { subscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';

/** What Node says of each HTTP/1 request when it hands it to the app, pipelined ones included. */
interface Started {
  readonly server: Server;
  readonly socket: Socket;
  readonly response: ServerResponse;
}

interface Marked {
  readonly response: ServerResponse;
  readonly keptAlive: boolean;
}

const latest = new WeakMap<Socket, ServerResponse>();
const lastMarked = new WeakMap<Socket, Marked>();
const draining = new WeakSet<Server>();
let isFollowing = false;

/**
 * Notes the newest response of every connection from now on. To be called before the first request: the socket itself
 * only names the one it is sending, and that one must not end a connection with more requests pipelined behind it.
 */
export function followResponses(): void {
  if (isFollowing) return;
  isFollowing = true;
  subscribe('http.server.request.start', (message) => {
    const { server, socket, response } = message as Started;
    latest.set(socket, response);
    if (draining.has(server)) mark(socket, response);
  });
}

/**
 * From now on every connection of `sockets`, and of those still accepted, ends with its newest or next response. The
 * function returned stops that for the requests still to come.
 */
export function closeAfterResponses(server: Server, sockets: Iterable<Socket>): () => void {
  draining.add(server);
  for (const socket of sockets) {
    const response = latest.get(socket);
    if (response) mark(socket, response);
  }
  return () => draining.delete(server);
}

function mark(socket: Socket, response: ServerResponse): void {
  if (response.headersSent) return;
  // The next request was pipelined behind it: the one before must not end the connection after all.
  const previous = lastMarked.get(socket);
  if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
  lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
  response.shouldKeepAlive = false;
}
