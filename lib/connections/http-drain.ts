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

/** Costs nothing until it is asked for something: the channel is listened to only while a server drains. */
export class HttpDrain {
  readonly #server: Server;
  readonly #lastMarked = new WeakMap<Socket, Marked>();
  #endsAll = false;
  #ending = new WeakSet<Socket>();
  #isListening = false;

  constructor(server: Server) {
    this.#server = server;
  }

  /** From now on every connection of the server ends with the response to its next request. */
  endAll(): void {
    this.#endsAll = true;
    this.#listen();
  }

  /** This one does. */
  end(socket: Socket): void {
    this.#ending.add(socket);
    this.#listen();
  }

  /** Requests still to come end nothing any more. */
  stop(): void {
    this.#endsAll = false;
    this.#ending = new WeakSet();
    if (this.#isListening) unsubscribe(REQUEST_START, this.#onStart);
    this.#isListening = false;
  }

  #listen(): void {
    if (!this.#isListening) subscribe(REQUEST_START, this.#onStart);
    this.#isListening = true;
  }

  readonly #onStart = (message: unknown): void => {
    const { server, socket, response } = message as Started;
    if (server !== this.#server || !(this.#endsAll || this.#ending.has(socket))) return;
    // This one was pipelined behind it: the one before must not end the connection after all.
    const previous = this.#lastMarked.get(socket);
    if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
    this.#lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
    response.shouldKeepAlive = false;
  };
}
