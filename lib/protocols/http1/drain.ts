// The polite end of an HTTP/1 connection: the next response whose head has not been sent says `Connection: close`, and the
// close lingers. With pipelined requests the last response says it, because the others must be answered, too. A connection
// that stays idle is closed later (idle-close.ts).
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { isHeld } from '../../sockets/fence.js';
import { currentRequest, currentResponse } from '../../sockets/http-server.js';
import { lingerAtEnd } from '../linger.js';
import { IdleClose } from './idle-close.js';

/** Node's message on the channel for each HTTP/1 request that it hands to the app, pipelined ones included. */
export interface Started {
  readonly server: Server;
  readonly socket: Socket;
  readonly response: ServerResponse;
}

interface Marked {
  readonly response: ServerResponse;
  readonly keptAlive: boolean;
}

/**
 * Share of the drain's time after which connections that could migrate and have not are ended, too: the deadline cuts them
 * without a word. The rest of the time is enough to end idle ones.
 */
const LAST_CALL = 0.75;

export const REQUEST_START = 'http.server.request.start';

/** Ends the connections of one server. Subscribes to the channel only during a drain, so that it costs nothing before. */
export class HttpDrain {
  readonly #server: Server;
  readonly #sockets: () => Iterable<Socket>;
  readonly #idle: IdleClose;
  readonly #lastMarked = new WeakMap<Socket, Marked>();
  readonly #lingering = new WeakSet<Socket>();
  #endsAll = false;
  #ending = new WeakSet<Socket>();
  /** Deadline of the drain, as `performance.now()`. */
  #deadline = Number.POSITIVE_INFINITY;
  #lastCall: NodeJS.Timeout | undefined;
  #isDraining = false;

  /**
   * `sockets`: those on which HTTP/1 is spoken; with TLS the decrypted sides, and sockets on which no handshake has begun.
   */
  constructor(server: Server, sockets: () => Iterable<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.#idle = new IdleClose(server, () => this.#toEnd());
  }

  /**
   * From now on every connection that ends lingers. `timeout`: milliseconds until the deadline; after `LAST_CALL` of them
   * every connection is ended.
   */
  begin(timeout: number): void {
    this.#deadline = performance.now() + timeout;
    clearTimeout(this.#lastCall);
    this.#lastCall = setTimeout(() => this.endAll(), timeout * LAST_CALL).unref();
    this.#listen();
    for (const socket of this.#sockets()) if (currentResponse(socket)) this.#linger(socket);
  }

  /** Ends every connection of the server with its next response, or when idle. */
  endAll(): void {
    clearTimeout(this.#lastCall);
    this.#listen();
    this.#endsAll = true;
    for (const socket of this.#sockets()) this.#tellCurrent(socket);
    this.#idle.start(this.#timeLeft);
  }

  /** Ends this connection with its next response, or when idle. */
  end(socket: Socket): void {
    this.#listen();
    this.#ending.add(socket);
    this.#tellCurrent(socket);
    this.#idle.start(this.#timeLeft);
  }

  /** Whether a connection is to end with its next response, or when idle. */
  ends(socket: Socket): boolean {
    return this.#endsAll || this.#ending.has(socket);
  }

  /** Later requests no longer end their connections. */
  stop(): void {
    this.#endsAll = false;
    this.#ending = new WeakSet();
    clearTimeout(this.#lastCall);
    this.#idle.stop();
    if (this.#isDraining) unsubscribe(REQUEST_START, this.#onStart);
    this.#isDraining = false;
  }

  #listen(): void {
    if (!this.#isDraining) subscribe(REQUEST_START, this.#onStart);
    this.#isDraining = true;
  }

  get #timeLeft(): number {
    return Math.max(0, this.#deadline - performance.now());
  }

  /** The connections to end. Not one on offer: this process may not end it. */
  #toEnd(): Socket[] {
    return [...this.#sockets()].filter((socket) => this.ends(socket) && !isHeld(socket));
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
    if (this.ends(socket)) this.#tell(socket, response);
  };

  /** Marks the response to the last request that has been read, if its head has not been sent. */
  #tellCurrent(socket: Socket): void {
    const response = currentResponse(socket);
    if (!response || response === this.#lastMarked.get(socket)?.response) return;
    if (response.req !== currentRequest(socket)) response.once('close', () => this.#tellNext(socket));
    else if (!response.headersSent) this.#tell(socket, response);
  }

  #tellNext(socket: Socket): void {
    if (this.#isDraining && this.ends(socket)) this.#tellCurrent(socket);
  }

  #tell(socket: Socket, response: ServerResponse): void {
    // The request of this response was pipelined behind another one, whose response must not end the connection.
    const previous = this.#lastMarked.get(socket);
    if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
    this.#lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
    response.shouldKeepAlive = false;
  }
}
