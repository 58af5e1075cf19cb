// Where a moved connection waits for its first byte. Handing an idle connection straight to the HTTP server starts Node's
// clock for a request's headers, and a minute later its client gets a 408 it never asked for (FACTS C3a).
import { type Server, Socket } from 'node:net';
import { countConnection } from './node-internals.js';

/** What happens when bytes come: the socket is paused, and holds them. */
export type Enter = (socket: Socket) => void;

export class Parking {
  readonly #server: Server;
  readonly #enter: Enter;
  readonly #onLeave: () => void;
  readonly #sockets = new Set<Socket>();

  constructor(server: Server, enter: Enter, onLeave: () => void) {
    this.#server = server;
    this.#enter = enter;
    this.#onLeave = onLeave;
  }

  get sockets(): ReadonlySet<Socket> {
    return this.#sockets;
  }

  /** Takes the descriptor. `idleTimeout` ms without a byte end the connection; 0: never. */
  park(fd: number, head: Uint8Array, idleTimeout: number): Socket {
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    countConnection(this.#server, socket);
    if (head.length > 0) {
      socket.unshift(head);
      this.#enter(socket);
      return socket;
    }
    this.#sockets.add(socket);
    const leave = (): void => {
      this.#sockets.delete(socket);
      socket.setTimeout(0);
      socket.off('data', onData).off('end', onEnd).off('timeout', onEnd).off('error', onError).off('close', onClose);
    };
    const onClose = (): void => {
      leave();
      this.#onLeave();
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
    socket.on('data', onData).on('end', onEnd).on('timeout', onEnd).on('error', onError).on('close', onClose);
    socket.setTimeout(idleTimeout);
    return socket;
  }
}
