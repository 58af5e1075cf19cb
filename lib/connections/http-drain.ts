// The polite end of an HTTP/1 connection: the response that is being made says `Connection: close`. An idle connection
// is left alone until its next request, because closing it races with that request.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { currentResponse } from './node-internals.js';

interface Marked {
  readonly response: ServerResponse;
  readonly keptAlive: boolean;
}

/**
 * From now on every connection of `sockets`, and of those still accepted, ends with its current or next response. The
 * function returned stops that for the requests still to come.
 */
export function closeAfterResponses(server: Server, sockets: Iterable<Socket>): () => void {
  const lastMarked = new WeakMap<Socket, Marked>();

  const mark = (socket: Socket, response: ServerResponse): void => {
    if (response.headersSent) return;
    // The next request was pipelined behind it: the one before must not end the connection after all.
    const previous = lastMarked.get(socket);
    if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
    lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
    response.shouldKeepAlive = false;
  };

  for (const socket of sockets) {
    const response = currentResponse(socket);
    if (response) mark(socket, response);
  }
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.httpVersionMajor === 1) mark(request.socket, response);
  };
  // A listener for the other two changes what Node does by itself, so only where the app has one.
  const expectations = ['checkContinue', 'checkExpectation'].filter((event) => server.listenerCount(event) > 0);
  const events = ['request', ...expectations];
  for (const event of events) server.prependListener(event, onRequest);
  return () => {
    for (const event of events) server.off(event, onRequest);
  };
}
