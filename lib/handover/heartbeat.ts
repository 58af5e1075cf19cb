// Heartbeats: one process sends them, the other watches for them.

import type { Clock } from '../protocol/clock.js';

/** Milliseconds between heartbeats. Both sides use it: a watch counts missed beats, not time. */
export const HEARTBEAT_INTERVAL = 100;

/** The `healthy` of a heartbeat: true without a check, false if the check fails. */
export async function isHealthy(check: (() => boolean | Promise<boolean>) | undefined): Promise<boolean> {
  try {
    return (await check?.()) ?? true;
  } catch {
    return false;
  }
}

/** Milliseconds between the reports of a draining predecessor. */
export const REPORT_INTERVAL = 1_000;

/** Calls `beat` now and every `interval` ms, until the returned function is called. Does not keep the process alive. */
export function beatEvery(clock: Clock, interval: number, beat: () => void): () => void {
  beat();
  return clock.every(interval, beat, { isUnref: true });
}

/**
 * Calls `onStall` when heartbeats stop. It counts its own ticks: when this process was stopped, or the clock jumped, no
 * tick has run, and the heartbeats of that time are read from the socket first.
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

  /** Resets the count, because a heartbeat came. */
  beat(): void {
    this.#missed = 0;
  }

  /** Sets the longest silence from now on, in ms. */
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
