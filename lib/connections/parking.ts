// Where a moved connection waits for its first byte. Handing an idle connection straight to the HTTP server starts Node's
// clock for a request's headers, and a minute later its client gets a 408 it never asked for (FACTS C3a).
import { type Server, Socket } from 'node:net';
import { countConnection } from './node-internals.js';

export class Parking {
  readonly #server: Server;
  readonly #track: (socket: Socket) => void;
  readonly #enter: (socket: Socket) => void;
  readonly #sockets = new Set<Socket>();

  /** `enter` gets a socket when bytes have come: it is paused, and holds them. */
  constructor(server: Server, track: (socket: Socket) => void, enter: (socket: Socket) => void) {
    this.#server = server;
    this.#track = track;
    this.#enter = enter;
  }

  /** Takes the descriptor. `idleTimeout` ms without a byte end the connection; 0: never. */
  park(fd: number, head: Uint8Array, idleTimeout: number): Socket {
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    countConnection(this.#server, socket);
    this.#track(socket);
    if (head.length > 0) {
      socket.unshift(head);
      this.#enter(socket);
      return socket;
    }
    this.#sockets.add(socket);
    const leave = (): void => {
      this.#sockets.delete(socket);
      socket.setTimeout(0);
      socket.off('data', onData).off('end', onEnd).off('timeout', onEnd).off('error', onError).off('close', leave);
    };
    const onData = (chunk: Buffer): void => {
      leave();
      socket.pause();
      socket.unshift(chunk);
      this.#enter(socket);
    };
    const onEnd = (): void => {
      socket.destroySoon();
    };
    const onError = (): void => {};
    socket.on('data', onData).on('end', onEnd).on('timeout', onEnd).on('error', onError).on('close', leave);
    socket.setTimeout(idleTimeout);
    return socket;
  }

  /** Ends those that wait. */
  close(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }
}
