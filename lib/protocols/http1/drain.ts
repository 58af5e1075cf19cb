// The polite end of an HTTP/1 connection: its next response whose head has not gone says `Connection: close`, and the end
// lingers. Of pipelined requests it is the last one's: the others are to be answered as well. One that stays idle is ended
// in the end (idle-close.ts).
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { isHeld } from '../../sockets/fence.js';
import { currentRequest, currentResponse } from '../../sockets/http-server.js';
import { lingerAtEnd } from '../linger.js';
import { IdleClose } from './idle-close.js';

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

/**
 * Of the time there is; then connections that could move and have not are to end: the hard stop tells nobody anything. What
 * is left is enough for those that are idle.
 */
const LAST_CALL = 0.75;

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
  /** When the hard stop comes. */
  #deadline = Number.POSITIVE_INFINITY;
  #lastCall: NodeJS.Timeout | undefined;
  #isDraining = false;

  /** `sockets`: what HTTP/1 is spoken on; with TLS the decrypted side, and those on which no handshake has begun. */
  constructor(server: Server, sockets: () => Iterable<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.#idle = new IdleClose(server, () => this.#toEnd());
  }

  /**
   * Whichever connection ends from now on ends with a lingering close. `timeout`: milliseconds until the hard stop; before
   * it every connection is asked to end.
   */
  begin(timeout: number): void {
    this.#deadline = performance.now() + timeout;
    clearTimeout(this.#lastCall);
    this.#lastCall = setTimeout(() => this.endAll(), timeout * LAST_CALL).unref();
    this.#listen();
    for (const socket of this.#sockets()) if (currentResponse(socket)) this.#linger(socket);
  }

  /** Every connection of the server ends with its next response, or idle. */
  endAll(): void {
    clearTimeout(this.#lastCall);
    this.#listen();
    this.#endsAll = true;
    for (const socket of this.#sockets()) this.#tellCurrent(socket);
    this.#idle.start(this.#timeLeft);
  }

  /** This one does. */
  end(socket: Socket): void {
    this.#listen();
    this.#ending.add(socket);
    this.#tellCurrent(socket);
    this.#idle.start(this.#timeLeft);
  }

  /** Whether a connection is to end with its next response, or idle. */
  ends(socket: Socket): boolean {
    return this.#endsAll || this.#ending.has(socket);
  }

  /** Requests still to come end nothing any more. */
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

  /** One that is on offer is not this process' to end. */
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

  /** The response being made, or the first of those pipelined behind it, that is the last of them and has no head yet. */
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
    // This one was pipelined behind it: the one before must not end the connection after all.
    const previous = this.#lastMarked.get(socket);
    if (previous && !previous.response.headersSent) previous.response.shouldKeepAlive = previous.keptAlive;
    this.#lastMarked.set(socket, { response, keptAlive: response.shouldKeepAlive });
    response.shouldKeepAlive = false;
  }
}
