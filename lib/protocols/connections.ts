// The open connections of one server: the accepted sockets and, with a layer such as TLS, the sockets that the layer makes
// of them.
import type { Socket } from 'node:net';
import { tcpTraffic } from '../fd/tcp-traffic.js';
import { descriptorOf, queuedBytes } from '../sockets/stream-handle.js';

export class Connections {
  readonly accepted: Set<Socket> = new Set();
  /** The layer's sockets, each with the accepted socket it was made of. Undefined without a layer. */
  #layered: Map<Socket, Socket | undefined> | undefined;
  readonly #since = new WeakMap<Socket, number>();
  readonly #onEmpty: () => void;
  #isClosed = false;

  /** `onEmpty` is called when the last accepted socket has closed or migrated. */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty;
  }

  /** Notes that the server has a layer: see {@link addLayered}. */
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

  /** The speaking sockets, and accepted ones of which the layer has made no socket yet. */
  open(): Socket[] {
    if (!this.#layered) return [...this.accepted];
    const wrapped = new Set(this.#layered.values());
    return [...this.#layered.keys(), ...[...this.accepted].filter((socket) => !wrapped.has(socket))];
  }

  /**
   * Adds an accepted or a migrated socket. A second call does nothing: a migrated socket may come again as a 'connection'.
   */
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

  /** `accepted`: the socket that the layer made it of. */
  addLayered(socket: Socket, accepted: Socket | undefined): void {
    if (this.#isClosed && !(accepted && this.accepted.has(accepted))) return;
    this.#layered?.set(socket, accepted);
    this.#since.set(socket, performance.now());
    socket.once('close', () => this.#layered?.delete(socket));
  }

  /**
   * Adds no more sockets, because the app has closed the server. If it listens again, another object counts its
   * connections.
   */
  close(): void {
    this.#isClosed = true;
  }

  /** Milliseconds since the socket was accepted, or since the layer made it. */
  ageOf(socket: Socket): number {
    return performance.now() - (this.#since.get(socket) ?? 0);
  }

  destroyAll(): void {
    for (const socket of [...this.speaking, ...this.accepted]) socket.destroy();
  }
}

/** Whether bytes wait for the app to read them, or for the kernel to take them. */
export function hasBytesWaiting(socket: Socket): boolean {
  return socket.readableLength > 0 || socket.writableLength > 0 || queuedBytes(socket) > 0;
}

/**
 * A number that changes when a byte of this connection moves. Where the kernel gives them, it is the bytes received and the
 * bytes that the client has acknowledged: the last megabytes of a response leave the kernel's buffer long after they left
 * Node's.
 */
export function trafficOf(socket: Socket): number {
  const fd = descriptorOf(socket);
  const kernel = fd === undefined ? undefined : tcpTraffic(fd);
  return kernel ?? socket.bytesRead + socket.bytesWritten - queuedBytes(socket);
}
