// A UDP socket under the handover. There are no connections; a process may send to its end.
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

  /** `onClose` is told when the app closes the socket by itself. */
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

  /** Where Node cannot stop it, it reads on until `finish`: the kernel gives each datagram to one of the two. */
  suspend(): void {
    this.#isSuspended = true;
    this.#isDeaf = stopReceiving(this.#socket);
  }

  holdBack(): boolean {
    this.suspend();
    return this.#isDeaf;
  }

  /** Its descriptor was never closed: it needs no new one. */
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

  /** An answer may still be on its way, and nothing tells: the socket can send as long as something keeps the process. */
  finish(): void {
    if (this.#isDeaf) this.#socket.unref();
    // One that was never handed over is the app's alone.
    else if (this.#isSuspended) this.#socket.close();
  }
}

/** Of all that listens, a datagram socket alone calls the host an address. */
function toBindOptions({ host, ...where }: Where): BindOptions {
  // Exclusive: in a cluster worker Node would look the descriptor up in its primary (FACTS N7).
  return { ...where, exclusive: true, ...(host !== undefined && { address: host }) };
}
