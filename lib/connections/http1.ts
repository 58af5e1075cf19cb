// HTTP/1.1 connections that move: each as soon as it is between two requests, and back into Node's parser with the first
// byte of the next one.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { OfferedConnection } from '../channel/batches.js';
import { closeFds } from '../fd/index.js';
import { type HttpDrain, REQUEST_START, type Started } from './http-drain.js';
import type { Detached, HeldConnection, LiveProtocol, Movable } from './live-protocol.js';
import {
  currentRequest,
  currentResponse,
  detachSocket,
  idleHttpConnections,
  isQuiet,
  reattachSocket,
} from './node-internals.js';
import { Parking } from './parking.js';

interface HttpServer extends Server {
  readonly keepAliveTimeout?: number;
  /** How much longer than announced a connection is kept, so that a request at the last moment still gets in; Node 22 on. */
  readonly keepAliveTimeoutBuffer?: number;
  readonly headersTimeout?: number;
}

const NOTHING = new Uint8Array(0);
/** State of a connection on which no request was ever sent. */
const FRESH = Uint8Array.of(1);

/** Whether a server speaks HTTP/1 in the clear: the parser that names idle connections is there, and no TLS. */
export function speaksHttp1(server: Server): boolean {
  return 'closeIdleConnections' in server && !('setSecureContext' in server);
}

export class Http1Connections implements LiveProtocol {
  readonly protocol = 'http1';
  readonly #server: HttpServer;
  readonly #name: string;
  readonly #sockets: ReadonlySet<Socket>;
  readonly #parking: Parking;
  readonly #ending: HttpDrain;
  /** Moved here after a request: without one more it is still a used one for the next process. */
  readonly #used = new WeakSet<Socket>();
  /** While this process moves its own connections on. */
  #onMovable: (() => void) | undefined;

  /** `sockets`: the server's own; `track` adds one. */
  constructor(
    server: Server,
    name: string,
    sockets: ReadonlySet<Socket>,
    track: (socket: Socket) => void,
    ending: HttpDrain,
  ) {
    this.#server = server;
    this.#name = name;
    this.#sockets = sockets;
    this.#ending = ending;
    this.#parking = new Parking(server, track, (socket) => {
      server.emit('connection', socket);
      socket.resume();
    });
  }

  hold(fd: number, { head, state }: OfferedConnection): HeldConnection {
    return { go: () => this.#park(fd, head, state.length > 0), abort: () => closeFds([fd]) };
  }

  /** A parked one moves on without asking any parser: it has read nothing, as one that never sent a byte. */
  *movable(): Generator<Movable> {
    const idle = idleHttpConnections(this.#server, this.#sockets);
    // Those whose turn comes in a later turn of the loop are idle still if nothing was read from them.
    const seen = idle.map(({ bytesRead }) => bytesRead);
    for (const [i, socket] of idle.entries()) yield this.#toMovable(socket, seen[i] ?? 0);
  }

  whenMovable(callback: () => void): () => void {
    const watched = new WeakSet<ServerResponse>();
    const watch = (socket: Socket, response: ServerResponse): void => {
      if (watched.has(response)) return;
      watched.add(response);
      response.once('close', () => {
        // Pipelined behind it, and handed to the app before anybody watched.
        const next = currentResponse(socket);
        if (next) watch(socket, next);
        // What is still being written must be out first.
        if (socket.writableLength > 0) socket.once('drain', callback);
        else callback();
        // The rest of a body may come after the response to it.
        if (!response.req.complete) response.req.once('close', callback);
      });
    };
    const onStart = (message: unknown): void => {
      const { server, socket, response } = message as Started;
      if (server === this.#server) watch(socket, response);
    };
    for (const socket of this.#sockets) {
      const response = currentResponse(socket);
      if (response) watch(socket, response);
      else if (currentRequest(socket)?.complete === false) currentRequest(socket)?.once('close', callback);
    }
    subscribe(REQUEST_START, onStart);
    this.#onMovable = callback;
    return () => {
      this.#onMovable = undefined;
      unsubscribe(REQUEST_START, onStart);
    };
  }

  stay(): void {
    this.#ending.endAll();
  }

  /** As `closeIdleConnections()` does with those that Node's parser knows. */
  closeParked(): void {
    this.#parking.close();
  }

  #park(fd: number, head: Uint8Array, isFresh: boolean): void {
    const { keepAliveTimeout = 0, keepAliveTimeoutBuffer = 0, headersTimeout = 0 } = this.#server;
    const usedTimeout = keepAliveTimeout > 0 ? keepAliveTimeout + keepAliveTimeoutBuffer : 0;
    const socket = this.#parking.park(fd, head, isFresh ? headersTimeout : usedTimeout);
    if (!isFresh) this.#used.add(socket);
    // From a predecessor that still moves, into a process that hands over itself.
    this.#onMovable?.();
  }

  #toMovable(socket: Socket, bytesRead: number): Movable {
    const { timeout = 0 } = socket;
    return {
      listener: this.#name,
      protocol: this.protocol,
      identity: socket,
      detach: () => {
        if (socket.bytesRead !== bytesRead || !isQuiet(socket)) return undefined;
        return this.#detach(socket);
      },
      release: () => void socket.destroy(),
      resume: ({ forGood }) => {
        socket.setTimeout(timeout);
        if (forGood) this.#ending.end(socket);
        reattachSocket(socket);
      },
    };
  }

  #detach(socket: Socket): Detached | undefined {
    const fd = detachSocket(socket);
    // Whoever times out meanwhile does not own it.
    socket.setTimeout(0);
    if (fd === undefined) return undefined;
    const isFresh = socket.bytesRead === 0 && !this.#used.has(socket);
    return { fd, head: NOTHING, state: isFresh ? FRESH : NOTHING };
  }
}
