// HTTP/1 connections stopped at the boundary between a response and the next request, for as long as it takes to offer
// them: a client that asks again in the instant it has the answer is idle in no turn of the event loop, and its connection
// would not move before the drain cuts it. What the client sends meanwhile waits in the kernel, for whoever reads next.
import type { Socket } from 'node:net';
import { Fence } from '../../sockets/fence.js';
import { currentRequest, currentResponse, isUpgraded } from '../../sockets/http-server.js';

/** Milliseconds after which one that could not be offered is served here until its next response: the successor is slow. */
const LONGEST_STOP = 1_000;

interface Stopped {
  readonly fence: Fence;
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
    else if (!this.#stopped.has(socket) && currentRequest(socket)?.complete !== false) {
      const fence = Fence.raise(socket);
      if (!fence) return;
      fence.stopClock();
      this.#stopped.set(socket, { fence, since: performance.now() });
      this.#timer ??= setTimeout(() => this.#startLate(), LONGEST_STOP).unref();
    }
  }

  /** It reads on. Without effect where it was not stopped. */
  start(socket: Socket): void {
    this.take(socket)?.lift();
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

  /** The fence of one that is stopped, which the caller lifts from now on. */
  take(socket: Socket): Fence | undefined {
    const stopped = this.#stopped.get(socket);
    if (!stopped) return undefined;
    this.#stopped.delete(socket);
    if (this.#stopped.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    return stopped.fence;
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
