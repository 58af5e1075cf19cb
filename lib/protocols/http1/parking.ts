// Parks a migrated connection until its first byte. An idle connection that enters the HTTP server at once starts Node's
// header timeout, and its client gets an unsolicited 408 a minute later (FACTS C3a).
import type { Server, Socket } from 'node:net';
import { countConnection, socketOf } from '../../sockets/new-socket.js';
import type { Connections } from '../connections.js';

export class Parking {
  readonly #server: Server;
  readonly #connections: Connections;
  readonly #enter: (socket: Socket) => void;
  readonly #sockets = new Set<Socket>();

  /** One function for thousands of sockets, for memory; `this` is the socket. */
  readonly #onData: (this: Socket, chunk: Buffer) => void;
  readonly #onClose: (this: Socket) => void;

  /** `enter` gets a socket when bytes have come; the socket is paused, and still holds the bytes. */
  constructor(server: Server, connections: Connections, enter: (socket: Socket) => void) {
    this.#server = server;
    this.#connections = connections;
    this.#enter = enter;
    const leave = (socket: Socket): void => this.#leave(socket);
    this.#onData = function (chunk) {
      leave(this);
      this.pause();
      this.unshift(chunk);
      enter(this);
    };
    this.#onClose = function () {
      leave(this);
    };
  }

  /** Owns the descriptor. `idleTimeout` ms without a byte end the connection; 0: never. `before` gets the socket first. */
  park(fd: number, head: Uint8Array, idleTimeout: number, before: (socket: Socket) => void): void {
    const socket = socketOf(this.#server, fd, { readable: true, writable: true, allowHalfOpen: true });
    countConnection(this.#server, socket);
    this.#connections.add(socket);
    before(socket);
    if (head.length > 0) {
      socket.unshift(head);
      this.#enter(socket);
      return;
    }
    this.#sockets.add(socket);
    socket
      .on('data', this.#onData)
      .on('end', onEnd)
      .on('timeout', onEnd)
      .on('error', onError)
      .on('close', this.#onClose);
    socket.setTimeout(idleTimeout);
  }

  #leave(socket: Socket): void {
    this.#sockets.delete(socket);
    socket.setTimeout(0);
    socket
      .off('data', this.#onData)
      .off('end', onEnd)
      .off('timeout', onEnd)
      .off('error', onError)
      .off('close', this.#onClose);
  }

  /** Destroys the parked connections. */
  close(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }
}

function onEnd(this: Socket): void {
  this.destroySoon();
}

function onError(): void {}
