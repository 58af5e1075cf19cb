// The result of a run: the last object of `--json`, the details before it, and the metrics for `--fail-if`.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { Totals } from './fleet.js';
import type { Switch } from './identify.js';
import type { KernelCounts } from './kernel.js';
import type { LedgerResult } from './ledger.js';
import type { Metrics } from './limits.js';
import type { Plan } from './plan.js';
import type { LostBy } from './tally.js';
import type { Triggered } from './trigger.js';

/** The last line of `handover hammer --json`. */
export interface HammerResult {
  readonly requests: { readonly ok: number; readonly lost: number };
  readonly lostBy: LostBy;
  readonly connections: { readonly opened: number; readonly closedByServer: number };
  /** Latencies of expected answers, counted from when each request should have begun. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** The longest time without a success, after the first one. */
  readonly longestGapMs: number;
  readonly switches: readonly Switch[];
  /** Only in ledger mode. */
  readonly ledger?: LedgerResult;
}

/** A finished run with all its data. */
export interface Finished {
  readonly url: string;
  readonly plan: Plan;
  /** Milliseconds since the epoch; all times of the run count from here. */
  readonly startedAt: number;
  readonly totals: Totals;
  /** Milliseconds in which new requests began. */
  readonly elapsed: number;
  readonly longestGapMs: number;
  readonly switches: readonly Switch[];
  /** The longest time without a success around each switch. */
  readonly switchGapsMs: readonly number[];
  readonly triggers: readonly Triggered[];
  readonly kernel: KernelCounts;
  readonly ledger?: LedgerResult;
  /** Why the ledger result is missing. */
  readonly ledgerError?: string;
}

export function resultOf({ totals, longestGapMs, switches, ledger }: Finished): HammerResult {
  const { counts, lostBy } = totals;
  return {
    requests: { ok: counts.ok, lost: counts.lost },
    lostBy,
    connections: { opened: counts.opened, closedByServer: counts.closedByServer },
    latencyMs: {
      p50: percentile(totals.latency, 50),
      p99: percentile(totals.latency, 99),
      max: round(totals.maxLatencyMs),
    },
    longestGapMs,
    switches,
    ...(ledger === undefined ? {} : { ledger }),
  };
}

/** The last line but one: details that are not in the result. */
export function detailsOf(finished: Finished): object {
  const { url, plan, startedAt, totals, elapsed, triggers, switchGapsMs, kernel, ledgerError } = finished;
  const {
    ok: _,
    lost: __,
    opened: ___,
    closedByServer: ____,
    reconnects,
    handshakes,
    resumed,
    ...others
  } = totals.counts;
  return {
    type: 'details',
    url,
    startedAt: round(startedAt),
    mix: plan.mix,
    threads: plan.threads,
    loop: plan.rate === undefined ? 'closed' : 'open',
    rate: plan.rate ?? null,
    elapsedMs: round(elapsed),
    requestsPerSecond: rateOf(finished),
    latencyMs: {
      mean: totals.latency.count === 0 ? 0 : round(totals.latency.mean / 1_000),
      p90: percentile(totals.latency, 90),
      'p99.9': percentile(totals.latency, 99.9),
    },
    reconnectsForced: reconnects,
    tls: { handshakes, resumed },
    ...others,
    identities: [...totals.sightings.values()],
    triggers,
    switchGapsMs,
    fates: totals.fates,
    kernel,
    ...(ledgerError === undefined ? {} : { ledgerError }),
    losses: totals.losses,
  };
}

/** Expected answers per second, while new requests began. */
export function rateOf({ totals: { counts }, elapsed }: Finished): number {
  return perSecond(counts.ok - counts.late, elapsed);
}

/** The metrics for `--fail-if`. */
export function metricsOf(finished: Finished): Metrics {
  const { totals, longestGapMs, switches, ledger } = finished;
  const { ok, lost, closedByServer, reconnects, notSent } = totals.counts;
  const all = ok + lost + notSent;
  return {
    // Without requests latency and rate are absent, and a limit on an absent metric counts as broken.
    ...(totals.latency.count > 0 && latencyMetrics(totals)),
    ...(all > 0 && { errorRate: (lost + notSent) / all }),
    lost,
    ok,
    rps: rateOf(finished),
    longestGap: longestGapMs,
    closedByServer,
    reconnects,
    notSent,
    switches: switches.length,
    ...totals.lostBy,
    ...ledger,
  };
}

function latencyMetrics({ latency, maxLatencyMs }: Totals): Metrics {
  return {
    p50: percentile(latency, 50),
    p90: percentile(latency, 90),
    p99: percentile(latency, 99),
    p999: percentile(latency, 99.9),
    max: round(maxLatencyMs),
    mean: round(latency.mean / 1_000),
  };
}

/** Milliseconds; 0 without a measurement. */
export function percentile(latency: RecordableHistogram, percent: number): number {
  return latency.count === 0 ? 0 : round(latency.percentile(percent) / 1_000);
}

export function perSecond(count: number, elapsed: number): number {
  return elapsed === 0 ? 0 : Math.round((count / elapsed) * 10_000) / 10;
}

function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
