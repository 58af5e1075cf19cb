// The last part of a process: it serves what is open to its end, and if it has a successor, that may still fail.
import { settlesWithin } from './deadline.js';
import { beatEvery, REPORT_INTERVAL } from './heartbeat.js';
import type { Lifecycle } from './lifecycle.js';
import type { Predecessor } from './predecessor.js';
import type { Servers } from './servers.js';

interface Draining {
  readonly servers: Servers;
  readonly lifecycle: Lifecycle;
  readonly timeout: number;
  /** A generation that still drains would take this one's end for a failure, and everything back. */
  readonly older: Promise<void> | undefined;
  /** Aborted when this process serves on after all. */
  readonly recalled?: AbortSignal;
}

/** Connections first, then what the app is still at, then the generations before: all within `timeout`. */
export async function drain({
  servers,
  lifecycle,
  timeout,
  older,
  recalled,
}: Draining): Promise<{ cut: number; durationMs: number }> {
  const start = performance.now();
  const elapsed = (): number => performance.now() - start;
  const cut = await servers.drainAll(timeout, recalled);
  await settlesWithin(Promise.all([lifecycle.worked(), older]), Math.max(0, timeout - elapsed()));
  return { cut, durationMs: elapsed() };
}

/**
 * Drains beside a successor in charge and says the last word to it.
 * @returns undefined once retired; the error when the successor failed and everything was taken back
 */
export async function retireOrRecall(
  predecessor: Predecessor,
  drained: (recalled: AbortSignal) => Promise<void>,
  report: () => void,
): Promise<unknown> {
  const recalled = new AbortController();
  const stopReporting = beatEvery(REPORT_INTERVAL, report);
  try {
    await Promise.race([drained(recalled.signal), predecessor.failed]);
    await predecessor.retire();
    return undefined;
  } catch (reason) {
    recalled.abort();
    return await predecessor.giveUp(reason);
  } finally {
    stopReporting();
  }
}
