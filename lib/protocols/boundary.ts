// HTTP/1 connections stopped at the boundary between a response and the next request, for as long as it takes to offer
// them: a client that asks again in the instant it has the answer is idle in no turn of the event loop, and its connection
// would not move before the drain cuts it. What the client sends meanwhile waits in the kernel, for whoever reads next.
import type { Socket } from 'node:net';
import { currentRequest, currentResponse, isUpgraded, startReading, stopReading } from '../sockets/node-internals.js';

/** Milliseconds after which one that could not be offered is served here until its next response: the successor is slow. */
const LONGEST_STOP = 1_000;

interface Stopped {
  /** The socket's own timeout: it must not end a connection whose request waits in the kernel. */
  readonly timeout: number;
  readonly since: number;
}

export class Boundary {
  readonly #stopped = new Map<Socket, Stopped>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * A response has ended, or the rest of a body has come after it. Not stopped is one whose app waits for a body. Requests
   * that were pipelined and have been read are answered first.
   */
  stop(socket: Socket): void {
    // What ends is read to its end (linger.ts), what is upgraded is not HTTP any more.
    if (socket.destroyed || socket.writableEnded || isUpgraded(socket)) this.start(socket);
    else if (!this.#stopped.has(socket) && currentRequest(socket)?.complete !== false && stopReading(socket)) {
      this.#stopped.set(socket, { timeout: socket.timeout ?? 0, since: performance.now() });
      socket.setTimeout(0);
      this.#timer ??= setTimeout(() => this.#startLate(), LONGEST_STOP).unref();
    }
  }

  /** It reads on. Without effect where it was not stopped. */
  start(socket: Socket): void {
    const stopped = this.#stopped.get(socket);
    if (!stopped) return;
    this.forget(socket);
    if (socket.destroyed) return;
    socket.setTimeout(stopped.timeout);
    startReading(socket);
  }

  /** Those of which a part of the next request has been read go on, and are stopped again after its response. */
  startAllBut(idle: readonly Socket[]): void {
    if (this.#stopped.size === 0) return;
    const kept = new Set(idle);
    for (const socket of this.#stopped.keys()) if (!kept.has(socket) && !isAnswering(socket)) this.start(socket);
  }

  startAll(): void {
    for (const socket of this.#stopped.keys()) this.start(socket);
  }

  /** The timeout it had before it was stopped. */
  timeoutOf(socket: Socket): number {
    return this.#stopped.get(socket)?.timeout ?? socket.timeout ?? 0;
  }

  /** Whoever stopped it for good says when it reads on. */
  forget(socket: Socket): void {
    this.#stopped.delete(socket);
    if (this.#stopped.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #startLate(): void {
    const limit = performance.now() - LONGEST_STOP;
    for (const [socket, { since }] of this.#stopped) if (since <= limit && !isAnswering(socket)) this.start(socket);
    this.#timer = this.#stopped.size > 0 ? setTimeout(() => this.#startLate(), LONGEST_STOP).unref() : undefined;
  }
}

function isAnswering(socket: Socket): boolean {
  return !socket.destroyed && (currentResponse(socket) !== undefined || socket.writableLength > 0);
}
