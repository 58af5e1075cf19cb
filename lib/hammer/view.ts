// The text for people: on a terminal the growing counts, and the summary at the end.
import type { Output } from '../terminal/output.js';
import type { Fleet, Totals } from './fleet.js';
import { LOSS_KINDS, type LossKind, NOT_SENT } from './outcome.js';
import { type Finished, percentile, perSecond, rateOf } from './result.js';

/** Losses shown in full. */
const LOSSES_SHOWN = 5;

/** Redraws the same lines, on a terminal only. */
export class LiveView {
  readonly #output: Output;
  #fleet: Fleet | undefined;
  #recent = { at: 0, ok: 0, rate: 0 };
  #lines = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  start(fleet: Fleet): void {
    if (this.#output.isTerminal) this.#fleet = fleet;
  }

  /** Removes the lines from the terminal. */
  end(): void {
    this.#fleet = undefined;
    this.#erase();
  }

  draw(): void {
    if (this.#fleet === undefined) return;
    const { totals, now } = this.#fleet;
    const { counts } = totals;
    if (now - this.#recent.at >= 1_000) {
      this.#recent = { at: now, ok: counts.ok, rate: perSecond(counts.ok - this.#recent.ok, now - this.#recent.at) };
    }
    const newest = totals.newest();
    const lines = [
      `${seconds(now)} s  ${grouped(counts.ok)} ok  ${grouped(counts.lost)} lost  ${grouped(Math.round(this.#recent.rate))}/s`,
      latencyLine(totals),
      connectionsLine(totals),
      ...(newest === undefined ? [] : [`served by    ${newest} (${totals.sightings.size} so far)`]),
      ...lossLines(totals),
    ];
    this.#erase();
    this.#output.draw(`${lines.join('\n')}\n`);
    this.#lines = lines.length;
  }

  #erase(): void {
    // CPL, ED (ECMA-48): moves up over the lines drawn, and clears to the end of the screen.
    if (this.#lines > 0) this.#output.draw(`\u001b[${this.#lines}F\u001b[J`);
    this.#lines = 0;
  }
}

/** The summary of a run. */
export function describeRun(finished: Finished): string {
  const { url, plan, totals, elapsed, longestGapMs, switches, triggers, kernel, ledger, ledgerError } = finished;
  const { counts } = totals;
  const clients = Object.entries(plan.mix).filter(([, count]) => count > 0);
  const loop = plan.rate === undefined ? 'closed loop' : `open loop, ${plan.rate} a second`;
  return [
    `${url}  ${seconds(elapsed)} s  ${loop}  ${clients.map(([kind, count]) => `${count} ${kind}`).join(', ')}`,
    `requests     ${grouped(counts.ok)} ok  ${grouped(counts.lost)} lost  ${grouped(Math.round(rateOf(finished)))}/s`,
    latencyLine(totals),
    connectionsLine(totals),
    ...(counts.handshakes > 0 ? [`TLS          ${counts.handshakes} handshakes  ${counts.resumed} resumed`] : []),
    `longest gap  ${longestGapMs} ms without a success`,
    ...switches.map(({ from, to, atMs, triggerToFirstAnswerMs: after, overlapMs }) => {
      const trigger = after === null ? '' : `  ${after} ms after its trigger`;
      const both = overlapMs < 0 ? `  neither for ${-overlapMs} ms` : `  both for ${overlapMs} ms`;
      return `switch       ${from} → ${to} at ${seconds(atMs)} s${trigger}${both}`;
    }),
    ...triggers.flatMap(({ atMs, error }) =>
      error === undefined ? [] : [`trigger      at ${seconds(atMs)} s failed: ${error}`],
    ),
    ...(ledger === undefined ? [] : [`ledger       ${words(ledger)}`]),
    ...(ledgerError === undefined ? [] : [`ledger       cannot be read: ${ledgerError}`]),
    `kernel       ${Object.keys(kernel).length === 0 ? 'no counters here' : words(kernel)}`,
    `client saw   resets ${counts.resets}  refused ${totals.lostBy.refused}  of these too slow ${counts.slowConnects}`,
    ...(counts.notSent > 0 ? [`lost         ${grouped(counts.notSent)} notSent: ${NOT_SENT}`] : []),
    ...(counts.ownFaults > 0
      ? [`own faults   ${counts.ownFaults} times this machine had no port or descriptor left`]
      : []),
    ...lossLines(totals),
    ...totals.losses
      .slice(0, LOSSES_SHOWN)
      .map(({ atMs, kind, detail }) => `  at ${seconds(atMs)} s  ${kind}: ${detail}`),
  ].join('\n');
}

function latencyLine({ latency, maxLatencyMs }: Pick<Totals, 'latency' | 'maxLatencyMs'>): string {
  const [p50, p90, p99, p999] = [50, 90, 99, 99.9].map((percent) => percentile(latency, percent));
  return `latency ms   p50 ${p50}  p90 ${p90}  p99 ${p99}  p99.9 ${p999}  max ${Math.round(maxLatencyMs * 1_000) / 1_000}`;
}

function connectionsLine({ counts }: Totals): string {
  const { opened, closedByServer, reconnects } = counts;
  return `connections  ${grouped(opened)} opened  ${grouped(closedByServer)} closed by the server  ${grouped(reconnects)} reconnects forced`;
}

function lossLines({ lostBy }: Totals): string[] {
  const lost = (Object.keys(LOSS_KINDS) as LossKind[]).filter((kind) => lostBy[kind] > 0);
  return lost.map((kind) => `lost         ${grouped(lostBy[kind])} ${kind}: ${LOSS_KINDS[kind]}`);
}

function words(counts: object): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join('  ');
}

function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(3);
}
