// Stops HTTP/1 connections at the boundary between a response and the next request until they have been offered. A client
// that asks again in the instant in which it has the answer is idle in no turn of the event loop, so its connection would
// not migrate before the drain cuts it (FACTS C3g). What the client sends meanwhile waits in the kernel for the process
// that reads next.
import type { Socket } from 'node:net';
import { Fence } from '../../sockets/fence.js';
import { currentRequest, currentResponse, isUpgraded } from '../../sockets/http-server.js';

/** Milliseconds after which a connection that a slow successor did not take is served here until its next response. */
const LONGEST_STOP = 1_000;

interface Stopped {
  readonly fence: Fence;
  readonly since: number;
}

export class Boundary {
  readonly #stopped = new Map<Socket, Stopped>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * Stops reading when a response has ended, or when the rest of a request body has come after it. Does not stop a
   * connection whose app waits for a body. Pipelined requests that have been read are answered first.
   */
  stop(socket: Socket): void {
    // A connection that ends is read to its end (linger.ts), and an upgraded one is no longer HTTP.
    if (socket.destroyed || socket.writableEnded || isUpgraded(socket)) this.start(socket);
    else if (!this.#stopped.has(socket) && currentRequest(socket)?.complete !== false) {
      const fence = Fence.raise(socket);
      if (!fence) return;
      fence.stopClock();
      this.#stopped.set(socket, { fence, since: performance.now() });
      this.#timer ??= setTimeout(() => this.#startLate(), LONGEST_STOP).unref();
    }
  }

  /** Reads on. Without effect on a connection that was not stopped. */
  start(socket: Socket): void {
    this.take(socket)?.lift();
  }

  /**
   * Starts all but the idle ones: of these a part of the next request has been read. They stop again after its response.
   */
  startAllBut(idle: readonly Socket[]): void {
    if (this.#stopped.size === 0) return;
    const kept = new Set(idle);
    for (const socket of this.#stopped.keys()) if (!kept.has(socket) && !isAnswering(socket)) this.start(socket);
  }

  startAll(): void {
    for (const socket of this.#stopped.keys()) this.start(socket);
  }

  /** Gives the fence of a stopped connection to the caller, who lifts it. */
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
