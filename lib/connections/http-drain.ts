// The polite end of an HTTP/1 connection: its next response says `Connection: close`, and the end lingers. A response that
// is being made is left as it is, because requests may be pipelined behind it, and the socket names only the one it is
// sending. One that stays idle is ended in the end (idle-close.ts).
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { IdleClose } from './idle-close.js';
import { lingerAtEnd } from './linger.js';
import { currentResponse } from './node-internals.js';

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

/** Milliseconds until the hard stop, where nobody says. */
export const DEFAULT_DRAIN_TIMEOUT = 30_000;

export const REQUEST_START = 'http.server.request.start';

/** Costs nothing until the server drains: only then the channel is listened to. */
export class HttpDrain {
  readonly #server: Server;
  readonly #sockets: () => Iterable<Socket>;
  readonly #idle: IdleClose;
  readonly #lastMarked = new WeakMap<Socket, Marked>();
  readonly #lingering = new WeakSet<Socket>();
  #endsAll = false;
  #ending = new WeakSet<Socket>();
  #timeout = DEFAULT_DRAIN_TIMEOUT;
  #isDraining = false;

  /** `sockets`: what HTTP/1 is spoken on; with TLS the decrypted side, and those on which no handshake has begun. */
  constructor(server: Server, sockets: () => Iterable<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.#idle = new IdleClose(server, () => this.#toEnd());
  }

  /** Whichever connection ends from now on ends with a lingering close. `timeout`: milliseconds until the hard stop. */
  begin(timeout: number): void {
    this.#timeout = timeout;
    this.#listen();
    for (const socket of this.#sockets()) if (currentResponse(socket)) this.#linger(socket);
  }

  /** Every connection of the server ends with the response to its next request, or idle. */
  endAll(): void {
    this.#listen();
    this.#endsAll = true;
    this.#idle.start(this.#timeout);
  }

  /** This one does. */
  end(socket: Socket): void {
    this.#listen();
    this.#ending.add(socket);
    this.#idle.start(this.#timeout);
  }

  /** Requests still to come end nothing any more. */
  stop(): void {
    this.#endsAll = false;
    this.#ending = new WeakSet();
    this.#idle.stop();
    if (this.#isDraining) unsubscribe(REQUEST_START, this.#onStart);
    this.#isDraining = false;
  }

  #listen(): void {
    if (!this.#isDraining) subscribe(REQUEST_START, this.#onStart);
    this.#isDraining = true;
  }

  #toEnd(): Socket[] {
    return [...this.#sockets()].filter((socket) => this.#endsAll || this.#ending.has(socket));
  }

  #linger(socket: Socket): void {
    if (this.#lingering.has(socket)) return;
    this.#lingering.add(socket);
    lingerAtEnd(socket, () => this.#isDraining);
  }

  readonly #onStart = (message: unknown): void => {
    const { server, socket, response } = message as Started;
    if (server !== this.#server) return;
    this.#linger(socket);
    if (!this.#endsAll && !this.#ending.has(socket)) return;
    // This one was pipelined behind it: the one before must not end the connection after all.
    const previous = this.#lastMarked.get(socket);
    if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
    this.#lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
    response.shouldKeepAlive = false;
  };
}
