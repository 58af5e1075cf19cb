// A UDP socket under the handover. It has no connections, and the predecessor may send until its end.
import type { BindOptions, Socket } from 'node:dgram';
import { startReceiving, stopReceiving } from '../sockets/datagram.js';
import type { Managed, Where } from './managed.js';
import type { Movable } from './protocol.js';

export class ManagedDatagram implements Managed {
  readonly #socket: Socket;
  readonly connectionCount = 0;
  readonly adopter = undefined;
  readonly wasCut: readonly [] = [];
  #isSuspended = false;
  #isDeaf = false;

  /** `onClose` is called when the app closes the socket. */
  constructor(socket: Socket, onClose: () => void) {
    this.#socket = socket;
    socket.once('close', onClose);
  }

  async accept(where: Where): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#socket.bind(toBindOptions(where), () => {
        this.#socket.off('error', reject);
        resolve();
      });
    });
  }

  /**
   * Stops receiving. Where Node cannot, the socket reads on until `finish`, and the kernel gives each datagram to one of
   * the two processes.
   */
  suspend(): void {
    this.#isSuspended = true;
    this.#isDeaf = stopReceiving(this.#socket);
  }

  holdBack(): boolean {
    this.suspend();
    return this.#isDeaf;
  }

  /** Needs no new descriptor, because the socket was not closed. */
  async resume(): Promise<void> {
    this.#isSuspended = false;
    if (startReceiving(this.#socket)) this.#isDeaf = false;
  }

  async drain(): Promise<void> {}

  endDrain(): void {}

  movable(): Movable[] {
    return [];
  }

  stay(): void {}

  whenMovable(): () => void {
    return () => {};
  }

  cut(): number {
    return 0;
  }

  /** Leaves the socket open for answers that the app may still send, but lets it no longer keep the process alive. */
  finish(): void {
    if (this.#isDeaf) this.#socket.unref();
    // A socket that was not suspended was not handed over, and stays the app's.
    else if (this.#isSuspended) this.#socket.close();
  }
}

/** Renames `host`: `dgram` calls it `address`. */
function toBindOptions({ host, ...where }: Where): BindOptions {
  // Exclusive: in a cluster worker Node would look the descriptor up in its primary (FACTS N7).
  return { ...where, exclusive: true, ...(host !== undefined && { address: host }) };
}
