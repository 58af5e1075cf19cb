// The open connections of one server: as accepted, and where a layer such as TLS is between, the sockets it makes of them.
import type { Socket } from 'node:net';
import { tcpTraffic } from '../fd/tcp-traffic.js';
import { descriptorOf, queuedBytes } from '../sockets/stream-handle.js';

export class Connections {
  readonly accepted: Set<Socket> = new Set();
  /** By the socket the layer made: the one it was made of. Undefined: there is no layer. */
  #layered: Map<Socket, Socket | undefined> | undefined;
  readonly #since = new WeakMap<Socket, number>();
  readonly #onEmpty: () => void;
  #isClosed = false;

  /** `onEmpty` is called when the last one has gone. */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty;
  }

  /** The server has a layer: see {@link addLayered}. */
  addLayer(): void {
    this.#layered ??= new Map();
  }

  get hasLayer(): boolean {
    return this.#layered !== undefined;
  }

  /** The sockets that the app's protocol is spoken on. */
  get speaking(): Iterable<Socket> {
    return this.#layered?.keys() ?? this.accepted;
  }

  /** Those, and what was accepted and of which the layer has made none yet. */
  open(): Socket[] {
    if (!this.#layered) return [...this.accepted];
    const wrapped = new Set(this.#layered.values());
    return [...this.#layered.keys(), ...[...this.accepted].filter((socket) => !wrapped.has(socket))];
  }

  /** Also one that was moved here, once: it may come again as a 'connection'. */
  add(socket: Socket): void {
    if (this.#isClosed || this.accepted.has(socket)) return;
    this.accepted.add(socket);
    this.#since.set(socket, performance.now());
    socket.once('close', () => this.remove(socket));
  }

  remove(socket: Socket): void {
    this.accepted.delete(socket);
    if (this.accepted.size === 0) this.#onEmpty();
  }

  /** `accepted`: what the layer has made it of. */
  addLayered(socket: Socket, accepted: Socket | undefined): void {
    if (this.#isClosed && !(accepted && this.accepted.has(accepted))) return;
    this.#layered?.set(socket, accepted);
    this.#since.set(socket, performance.now());
    socket.once('close', () => this.#layered?.delete(socket));
  }

  /** The server is closed: one that listens anew is managed anew, and counts its own. */
  close(): void {
    this.#isClosed = true;
  }

  /** Milliseconds since it was accepted, or since the layer has made it. */
  ageOf(socket: Socket): number {
    return performance.now() - (this.#since.get(socket) ?? 0);
  }

  destroyAll(): void {
    for (const socket of [...this.speaking, ...this.accepted]) socket.destroy();
  }
}

/** Whether bytes wait to be read by the app, or to be taken by the kernel. */
export function hasBytesWaiting(socket: Socket): boolean {
  return socket.readableLength > 0 || socket.writableLength > 0 || queuedBytes(socket) > 0;
}

/**
 * A number that changes when a byte of this connection moves. Where the kernel tells, it is what it has received and what
 * the client has acknowledged: the last megabytes of a response leave the kernel's buffer long after they left Node's.
 */
export function trafficOf(socket: Socket): number {
  const fd = descriptorOf(socket);
  const kernel = fd === undefined ? undefined : tcpTraffic(fd);
  return kernel ?? socket.bytesRead + socket.bytesWritten - queuedBytes(socket);
}
