// Stops reading upgraded connections between two messages of the client until they have been offered. A client that sends
// messages without waiting for the answers gives a busy server no moment in which every message is answered, so its
// connection would not migrate before the drain closes it. What the client sends meanwhile waits in the kernel for the
// process that reads next.

import { Fence } from '../../../sockets/fence.js';
import type { Upgraded } from '../upgraded.js';

/** Milliseconds after which a connection that could not migrate is read again: the app, client or successor is slow. */
const LONGEST_PAUSE = 1_000;

interface Paused {
  readonly fence: Fence;
  readonly since: number;
}

export class Pauses {
  readonly #paused = new Map<Upgraded, Paused>();
  /** Connections that could not migrate in that time. The app may wait for the client, so they are not paused again. */
  #late = new WeakSet<Upgraded>();
  #timer: NodeJS.Timeout | undefined;

  /** Begins a handover. */
  reset(): void {
    this.#late = new WeakSet();
  }

  /** Pauses a connection whose client is between two messages. Reads on one that closes, or that has to stay. */
  update(upgraded: Upgraded): void {
    if (!upgraded.canEverMove || !upgraded.isReadToBoundary) this.end(upgraded);
    else if (!this.#paused.has(upgraded) && !this.#late.has(upgraded)) {
      const fence = Fence.raise(upgraded.socket);
      if (!fence) return;
      fence.stopClock();
      this.#paused.set(upgraded, { fence, since: performance.now() });
      this.#timer ??= setTimeout(() => this.#endLate(), LONGEST_PAUSE).unref();
    }
  }

  /** Reads on. Without effect on a connection that is not paused. */
  end(upgraded: Upgraded): void {
    this.take(upgraded)?.lift();
  }

  endAll(): void {
    for (const upgraded of this.#paused.keys()) this.end(upgraded);
  }

  /** The fence of a paused connection, which the caller has to lift. */
  take(upgraded: Upgraded): Fence | undefined {
    const paused = this.#paused.get(upgraded);
    if (!paused) return undefined;
    this.#paused.delete(upgraded);
    if (this.#paused.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    return paused.fence;
  }

  #endLate(): void {
    const limit = performance.now() - LONGEST_PAUSE;
    for (const [upgraded, { since }] of this.#paused) {
      if (since > limit) continue;
      this.#late.add(upgraded);
      this.end(upgraded);
    }
    this.#timer = this.#paused.size > 0 ? setTimeout(() => this.#endLate(), LONGEST_PAUSE).unref() : undefined;
  }
}
