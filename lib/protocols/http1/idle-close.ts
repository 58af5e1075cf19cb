// The end of HTTP/1 connections that are idle while their server drains and send no request that could be answered with
// `Connection: close`. Whoever closes an idle connection may cross a request on its way, and HTTP/1.1 has no word to say
// which (RFC 9112 §9.5): so each is left a grace first, in which a client that uses its connection is answered; then a
// lingering close, so that a request that crosses it meets an orderly end (FIN, with TLS close_notify; no RST, no byte of a
// response), is never acted on, and can be sent again.
import type { Server, Socket } from 'node:net';
import { isHeld } from '../../sockets/fence.js';
import { idleHttpConnections, isQuiet } from '../../sockets/http-server.js';
import { lingerAndClose } from '../linger.js';

/** As long as Node keeps an idle connection by default: its clients are used to that. */
const LONGEST_GRACE = 5_000;

/** Grace and jitter take at most a third of the time there is, so that it is not the hard stop that ends idle ones. */
const SHARE = 1 / 6;

/** Looks, in one grace, for connections that have become idle. */
const SWEEPS = 5;
const SHORTEST_INTERVAL = 10;

interface Waiting {
  readonly bytesRead: number;
  readonly timer: NodeJS.Timeout;
}

export class IdleClose {
  readonly #server: Server;
  readonly #candidates: () => Iterable<Socket>;
  readonly #waiting = new Map<Socket, Waiting>();
  #sweeping: NodeJS.Timeout | undefined;

  /** `candidates`: those that are to end when idle; asked for again and again. */
  constructor(server: Server, candidates: () => Iterable<Socket>) {
    this.#server = server;
    this.#candidates = candidates;
  }

  /** `timeout`: milliseconds until the hard stop. */
  start(timeout: number): void {
    if (this.#sweeping) return;
    const grace = Math.min(LONGEST_GRACE, timeout * SHARE);
    this.#sweeping = setInterval(() => this.#sweep(grace), Math.max(grace / SWEEPS, SHORTEST_INTERVAL));
    this.#sweeping.unref();
    // In a macrotask, where it is certain which are idle (FACTS C3).
    setImmediate(() => this.#sweep(grace));
  }

  stop(): void {
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }

  #sweep(grace: number): void {
    if (!this.#sweeping) return;
    for (const socket of idleHttpConnections(this.#server, this.#candidates())) this.#wait(socket, grace);
  }

  /** Up to twice the grace, each its own: thousands of clients must not connect anew in the same instant. */
  #wait(socket: Socket, grace: number): void {
    const { bytesRead } = socket;
    const former = this.#waiting.get(socket);
    if (former?.bytesRead === bytesRead) return;
    if (former) clearTimeout(former.timer);
    // After the poll phase: what the kernel has by then has been read.
    const timer = setTimeout(() => setImmediate(() => this.#end(socket, bytesRead)), grace * (1 + Math.random()));
    timer.unref();
    this.#waiting.set(socket, { bytesRead, timer });
  }

  #end(socket: Socket, bytesRead: number): void {
    if (!this.#sweeping) return;
    this.#waiting.delete(socket);
    // It was used, or is on offer to the successor; the next sweep finds it when it is idle again.
    if (socket.bytesRead !== bytesRead || !isQuiet(socket) || isHeld(socket)) return;
    // No handshake was begun: there is nobody to say goodbye to in TLS.
    if ('setSecureContext' in this.#server && !('encrypted' in socket)) socket.destroy();
    else lingerAndClose(socket);
  }
}
