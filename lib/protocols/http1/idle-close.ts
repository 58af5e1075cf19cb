// Closes HTTP/1 connections that are idle while their server drains, and send no request that could be answered with
// `Connection: close`. A close may cross a request on its way, and HTTP/1.1 cannot tell the client whether the request was
// handled (RFC 9112 §9.5). So each connection first gets a grace, in which a client that uses it is answered, and then a
// lingering close: a request that crosses it meets an orderly end (FIN, with TLS close_notify; no RST, no byte of a
// response), is not acted on, and can be sent again.
import type { Server, Socket } from 'node:net';
import { isHeld } from '../../sockets/fence.js';
import { idleHttpConnections, isQuiet } from '../../sockets/http-server.js';
import { lingerAndClose } from '../linger.js';

/** Milliseconds; as long as Node keeps an idle connection by default, so clients expect such a close. */
const LONGEST_GRACE = 5_000;

/** Share of the drain for the grace: with its jitter at most a third, so that the deadline cuts no idle connection. */
const SHARE = 1 / 6;

/** Checks for idle connections in one grace. */
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

  /** `candidates`: the connections to close when idle, read anew at each check. */
  constructor(server: Server, candidates: () => Iterable<Socket>) {
    this.#server = server;
    this.#candidates = candidates;
  }

  /** `timeout`: milliseconds until the drain's deadline. */
  start(timeout: number): void {
    if (this.#sweeping) return;
    const grace = Math.min(LONGEST_GRACE, timeout * SHARE);
    this.#sweeping = setInterval(() => this.#sweep(grace), Math.max(grace / SWEEPS, SHORTEST_INTERVAL));
    this.#sweeping.unref();
    // In a macrotask, because only there the idle ones are certain (FACTS C3).
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

  /** Waits once to twice the grace, at random, so that thousands of clients do not reconnect in the same instant. */
  #wait(socket: Socket, grace: number): void {
    const { bytesRead } = socket;
    const former = this.#waiting.get(socket);
    if (former?.bytesRead === bytesRead) return;
    if (former) clearTimeout(former.timer);
    // After the poll phase, in which everything that the kernel has is read.
    const timer = setTimeout(() => setImmediate(() => this.#end(socket, bytesRead)), grace * (1 + Math.random()));
    timer.unref();
    this.#waiting.set(socket, { bytesRead, timer });
  }

  #end(socket: Socket, bytesRead: number): void {
    if (!this.#sweeping) return;
    this.#waiting.delete(socket);
    // The connection was used, or is on offer to the successor. The next sweep finds it when it is idle again.
    if (socket.bytesRead !== bytesRead || !isQuiet(socket) || isHeld(socket)) return;
    // No handshake has begun, so there is no TLS session to close.
    if ('setSecureContext' in this.#server && !('encrypted' in socket)) socket.destroy();
    else lingerAndClose(socket);
  }
}
