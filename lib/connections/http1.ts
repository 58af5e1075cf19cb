// HTTP/1.1 connections that move: each as soon as it is between two requests, and back into Node's parser with the first
// byte of the next one.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { OfferedConnection } from '../channel/batches.js';
import type { Adopter } from './holding.js';
import { REQUEST_START, type Started } from './http-drain.js';
import {
  currentRequest,
  currentResponse,
  detachSocket,
  idleHttpConnections,
  reattachSocket,
} from './node-internals.js';
import type { Movable } from './offering.js';
import { Parking } from './parking.js';

interface HttpServer extends Server {
  readonly keepAliveTimeout?: number;
  readonly headersTimeout?: number;
}

const PROTOCOL = 'http1';
const NOTHING = new Uint8Array(0);
/** State of a connection on which no request was ever sent. */
const FRESH = Uint8Array.of(1);

/** Whether a server speaks HTTP/1 in the clear: the parser that names idle connections is there, and no TLS. */
export function speaksHttp1(server: Server): boolean {
  return 'closeIdleConnections' in server && !('setSecureContext' in server);
}

export class Http1Connections implements Adopter {
  readonly protocols: readonly string[] = [PROTOCOL];
  readonly #server: HttpServer;
  readonly #name: string;
  readonly #sockets: ReadonlySet<Socket>;
  readonly #parking: Parking;
  /** Moved here after a request: without one more it is still a used one for the next process. */
  readonly #used = new WeakSet<Socket>();

  /** `sockets`: the server's own, without those parked. `onLeave` is told when one leaves the parking. */
  constructor(server: Server, name: string, sockets: ReadonlySet<Socket>, onLeave: () => void) {
    this.#server = server;
    this.#name = name;
    this.#sockets = sockets;
    this.#parking = new Parking(server, (socket) => this.#enter(socket), onLeave);
  }

  get parkedCount(): number {
    return this.#parking.sockets.size;
  }

  adopt(fd: number, { head, state }: OfferedConnection): void {
    const { keepAliveTimeout = 0, headersTimeout = 0 } = this.#server;
    const isFresh = state.length > 0;
    const socket = this.#parking.park(fd, head, isFresh ? headersTimeout : keepAliveTimeout);
    if (!isFresh) this.#used.add(socket);
  }

  /** Those that could move now. A parked one moves on without asking any parser. */
  *movable(): Generator<Movable> {
    for (const socket of [...this.#parking.sockets]) yield this.#toMovable(socket);
    for (const socket of idleHttpConnections(this.#server, this.#sockets)) yield this.#toMovable(socket);
  }

  /** Calls back, in a macrotask, when a busy one may have become idle. The function returned ends that. */
  whenMovable(callback: () => void): () => void {
    const later = (): void => {
      setImmediate(callback);
    };
    const watched = new WeakSet<ServerResponse>();
    const watch = (socket: Socket, response: ServerResponse): void => {
      if (watched.has(response)) return;
      watched.add(response);
      response.once('close', () => {
        // Pipelined behind it, and handed to the app before anybody watched.
        const next = currentResponse(socket);
        if (next) watch(socket, next);
        // What is still being written must be out first.
        if (socket.writableLength > 0) socket.once('drain', later);
        else later();
        // The rest of a body may come after the response to it.
        if (!response.req.complete) response.req.once('close', later);
      });
    };
    const onStart = (message: unknown): void => {
      const { server, socket, response } = message as Started;
      if (server === this.#server) watch(socket, response);
    };
    for (const socket of this.#sockets) {
      const response = currentResponse(socket);
      if (response) watch(socket, response);
      else if (currentRequest(socket)?.complete === false) currentRequest(socket)?.once('close', later);
    }
    subscribe(REQUEST_START, onStart);
    return () => {
      unsubscribe(REQUEST_START, onStart);
    };
  }

  /** Ends those that wait. */
  cut(): void {
    for (const socket of [...this.#parking.sockets]) socket.destroy();
  }

  #enter(socket: Socket): void {
    this.#server.emit('connection', socket);
    socket.resume();
  }

  #toMovable(socket: Socket): Movable {
    const { timeout = 0 } = socket;
    return {
      listener: this.#name,
      protocol: PROTOCOL,
      identity: socket,
      detach: () => {
        const fd = detachSocket(socket);
        // Whoever times out meanwhile does not own it.
        socket.setTimeout(0);
        if (fd === undefined) return undefined;
        const isFresh = socket.bytesRead === 0 && !this.#used.has(socket);
        return { fd, head: NOTHING, state: isFresh ? FRESH : NOTHING };
      },
      release: () => void socket.destroy(),
      resume: () => {
        socket.setTimeout(timeout);
        reattachSocket(socket);
      },
    };
  }
}
