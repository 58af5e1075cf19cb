// The polite end of an HTTP/1 connection: its next response says `Connection: close`. An idle connection is left alone
// until its next request, because closing it races with that request; and so is a response that is being made, because
// requests may be pipelined behind it, and the socket names only the one it is sending.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';

/** What Node says of each HTTP/1 request when it hands it to the app, pipelined ones included. */
export interface Started {
  readonly server: Server;
  readonly socket: Socket;
  readonly response: ServerResponse;
}

interface Marked {
  readonly response: ServerResponse;
  readonly keptAlive: boolean;
}

export const REQUEST_START = 'http.server.request.start';

/**
 * From now on every connection of the server ends with the response to its next request. The function returned stops that
 * for the requests still to come. Costs nothing before: the channel is listened to only while a server drains.
 */
export function closeAfterResponses(server: Server): () => void {
  const lastMarked = new WeakMap<Socket, Marked>();
  const onStart = (message: unknown): void => {
    const started = message as Started;
    if (started.server !== server) return;
    const { socket, response } = started;
    // This one was pipelined behind it: the one before must not end the connection after all.
    const previous = lastMarked.get(socket);
    if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
    lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
    response.shouldKeepAlive = false;
  };
  subscribe(REQUEST_START, onStart);
  return () => {
    unsubscribe(REQUEST_START, onStart);
  };
}
