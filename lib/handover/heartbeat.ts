// Heartbeats: sent by a process that lives, and watched by the one that depends on it.

import type { Clock } from '../protocol/clock.js';

/** Both sides go by it: a watch counts beats missed, not time. */
export const HEARTBEAT_INTERVAL = 100;

/** What a heartbeat says of the app: one without a check is healthy, one whose check fails is not. */
export async function isHealthy(check: (() => boolean | Promise<boolean>) | undefined): Promise<boolean> {
  try {
    return (await check?.()) ?? true;
  } catch {
    return false;
  }
}

/** A draining predecessor only reports. */
export const REPORT_INTERVAL = 1_000;

/** Calls `beat` now and every `interval` ms, until the function returned is called. Does not keep the process alive. */
export function beatEvery(clock: Clock, interval: number, beat: () => void): () => void {
  beat();
  return clock.every(interval, beat, { isUnref: true });
}

/**
 * Notices that heartbeats stay away. It counts its own ticks: a process that was stopped, or a clock that jumped, has
 * missed none of them, and finds the heartbeats of the meantime in its socket.
 */
export class HeartbeatWatch {
  readonly #onStall: (silence: number) => void;
  readonly #cancel: () => void;
  #stall: number;
  #missed = 0;

  constructor(clock: Clock, stall: number, onStall: (silence: number) => void) {
    this.#stall = stall;
    this.#onStall = onStall;
    this.#cancel = clock.every(HEARTBEAT_INTERVAL, () => this.#tick());
  }

  /** A heartbeat came. */
  beat(): void {
    this.#missed = 0;
  }

  /** How long the silence may be from now on, in ms. */
  allow(stall: number): void {
    this.#stall = stall;
    this.#missed = 0;
  }

  stop(): void {
    this.#cancel();
  }

  #tick(): void {
    this.#missed += 1;
    const silence = this.#missed * HEARTBEAT_INTERVAL;
    if (silence < this.#stall) return;
    this.stop();
    this.#onStall(silence);
  }
}
