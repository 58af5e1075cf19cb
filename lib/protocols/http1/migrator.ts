// Migrates HTTP/1.1 connections, each as soon as it is between two requests. In the successor a connection enters Node's
// parser with the first byte of its next request.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { closeFds } from '../../fd/index.js';
import type { OfferedConnection } from '../../protocol/batches.js';
import { Fence } from '../../sockets/fence.js';
import { currentRequest, currentResponse, idleHttpConnections, isQuiet } from '../../sockets/http-server.js';
import type { Connections } from '../connections.js';
import type { Migration } from '../migration.js';
import type { Detached, Hold, Migrator, Movable } from '../protocol.js';
import { Boundary } from './boundary.js';
import { type HttpDrain, REQUEST_START, type Started } from './drain.js';
import { Entrance } from './entrance.js';
import { Parking } from './parking.js';

interface HttpServer extends Server {
  readonly keepAliveTimeout?: number;
  /** Milliseconds that Node keeps an idle connection longer than announced, for a late request (FACTS C11). */
  readonly keepAliveTimeoutBuffer?: number;
  readonly headersTimeout?: number;
}

const NOTHING = new Uint8Array(0);
/** First byte of the state of a connection on which no request was ever sent. */
const FRESH = Uint8Array.of(1);
/** First byte of the state of a used connection with the app's state; without the app's state it has no state. */
const USED = Uint8Array.of(0);

export class Http1Migrator implements Migrator {
  readonly #entrance: Entrance;
  readonly #server: HttpServer;
  readonly #name: string;
  readonly #sockets: ReadonlySet<Socket>;
  readonly #parking: Parking;
  readonly #ending: HttpDrain;
  /** Connections that migrated here after a request: if they migrate again without another, they still count as used. */
  readonly #used = new WeakSet<Socket>();
  readonly #boundary = new Boundary();
  /** Set while this process migrates its connections. */
  #onMovable: (() => void) | undefined;
  /** Connections that the app keeps in the present handover. */
  #staying = new WeakSet<Socket>();

  /** `migration`: the app's own functions to migrate connections. */
  constructor(
    server: Server,
    name: string,
    connections: Connections,
    ending: HttpDrain,
    migration: Migration | undefined,
  ) {
    this.#server = server;
    this.#name = name;
    this.#sockets = connections.accepted;
    this.#ending = ending;
    this.#entrance = new Entrance(server, migration);
    this.#parking = new Parking(server, connections, (socket) => void this.#entrance.enter(socket));
  }

  get protocol(): string {
    return this.#entrance.protocol;
  }

  get canMove(): boolean {
    return this.#entrance.isOpen;
  }

  hold(fd: number, { head, state }: OfferedConnection): Hold {
    if (this.canMove) return { go: () => this.#park(fd, head, Buffer.from(state)), abort: () => closeFds([fd]) };
    closeFds([fd]);
    return undefined;
  }

  /** Includes parked connections, which no parser knows: they have read nothing, as a connection that never sent a byte. */
  *movable(): Generator<Movable> {
    if (!this.canMove) {
      this.#boundary.startAll();
      return;
    }
    const idle = idleHttpConnections(this.#server, this.#sockets);
    // A connection that is offered in a later turn of the event loop is still idle if nothing was read from it.
    const seen = idle.map(({ bytesRead }) => bytesRead);
    this.#boundary.startAllBut(idle);
    for (const [i, socket] of idle.entries()) {
      yield this.#toMovable(socket, seen[i] ?? 0);
      // It was not taken.
      this.#boundary.start(socket);
    }
  }

  whenMovable(callback: () => void): () => void {
    this.#staying = new WeakSet();
    if (!this.canMove) return () => {};
    const atBoundary = (socket: Socket): void => {
      if (this.#onMovable && this.canMove && !this.#ending.ends(socket)) this.#boundary.stop(socket);
      else this.#boundary.start(socket);
      // Pending output must be sent first.
      if (socket.writableLength > 0) socket.once('drain', callback);
      else callback();
    };
    const watched = new WeakSet<ServerResponse>();
    const watch = (socket: Socket, response: ServerResponse): void => {
      if (watched.has(response)) return;
      watched.add(response);
      response.once('close', () => {
        // A pipelined request behind this one, which the app got before the watch began.
        const next = currentResponse(socket);
        if (next) watch(socket, next);
        atBoundary(socket);
        // The rest of a request body may come after the response.
        if (!response.req.complete) response.req.once('close', () => atBoundary(socket));
      });
    };
    const onStart = (message: unknown): void => {
      const { server, socket, response } = message as Started;
      if (server === this.#server) watch(socket, response);
    };
    for (const socket of this.#sockets) {
      const response = currentResponse(socket);
      if (response) watch(socket, response);
      else if (currentRequest(socket)?.complete === false)
        currentRequest(socket)?.once('close', () => atBoundary(socket));
    }
    subscribe(REQUEST_START, onStart);
    this.#onMovable = callback;
    return () => {
      this.stopMoving();
      unsubscribe(REQUEST_START, onStart);
    };
  }

  /** Ends parked connections, as `closeIdleConnections()` ends those that Node's parser knows. */
  closeParked(): void {
    this.#parking.close();
  }

  stopMoving(): void {
    this.#onMovable = undefined;
    this.#boundary.startAll();
  }

  #park(fd: number, head: Uint8Array, state: Uint8Array): void {
    const isFresh = state[0] === FRESH[0];
    const { keepAliveTimeout = 0, keepAliveTimeoutBuffer = 0, headersTimeout = 0 } = this.#server;
    const usedTimeout = keepAliveTimeout > 0 ? keepAliveTimeout + keepAliveTimeoutBuffer : 0;
    this.#parking.park(fd, head, isFresh ? headersTimeout : usedTimeout, (socket) => {
      if (!isFresh) this.#used.add(socket);
      this.#entrance.await(socket, state.subarray(1));
    });
    // The predecessor may still migrate connections to this process while this process hands over itself.
    this.#onMovable?.();
  }

  #toMovable(socket: Socket, bytesRead: number): Movable {
    let fence: Fence | undefined;
    return {
      listener: this.#name,
      protocol: this.protocol,
      identity: socket,
      detach: () => {
        if (socket.bytesRead !== bytesRead || !isQuiet(socket) || this.#staying.has(socket)) return undefined;
        fence = this.#boundary.take(socket) ?? Fence.raise(socket);
        return fence && this.#detach(socket, fence);
      },
      release: () => {
        fence?.drop();
        socket.destroy();
      },
      stay: () => this.#boundary.start(socket),
      resume: ({ forGood }) => {
        if (forGood) this.#ending.end(socket);
        fence?.lift();
        this.#entrance.stay(socket);
      },
    };
  }

  #detach(socket: Socket, fence: Fence): Detached | undefined {
    fence.hold();
    const saved = this.#entrance.save(socket);
    if (!saved) {
      fence.lift();
      this.#staying.add(socket);
      this.#ending.end(socket);
      return undefined;
    }
    fence.stopClock();
    const isFresh = socket.bytesRead === 0 && !this.#used.has(socket);
    const first = isFresh ? FRESH : USED;
    return {
      fd: fence.fd,
      head: NOTHING,
      state: saved.length > 0 ? Buffer.concat([first, saved]) : isFresh ? FRESH : NOTHING,
    };
  }
}
