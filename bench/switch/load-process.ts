// The load of `switch`: the clients of `handover hammer`, with every single answer written down. A process of its own, so
// that what is measured waits for nothing of the bench; told over IPC to start and to stop.

import type { Loss } from '../../dist/hammer/outcome.js';
import { NO_COUNTS, Successes, Tally } from '../../dist/hammer/tally.js';
import { run, type ThreadReport } from '../../dist/hammer/thread.js';
import type { LoadOrder, LoadReport } from './load.js';

const LONGEST_RUN = 120_000;

/** Counts as the hammer does, and keeps each answer. */
class Recorder extends Tally {
  readonly at: number[] = [];
  readonly latency: number[] = [];
  readonly by: number[] = [];
  readonly identities: string[] = [];
  readonly losses: { readonly kind: Loss['kind']; readonly detail: string; readonly at: number }[] = [];

  override ok(latency: number, now: number, identity = ''): void {
    super.ok(latency, now, identity);
    let index = this.identities.indexOf(identity);
    if (index === -1) {
      index = this.identities.push(identity) - 1;
      send({ type: 'seen', identity, at: now });
    }
    this.at.push(now);
    this.latency.push(latency);
    this.by.push(index);
  }

  override lost(loss: Loss, number: number, now: number): void {
    super.lost(loss, number, now);
    this.losses.push({ ...loss, at: now });
  }
}

function send(report: LoadReport): void {
  process.send?.(report);
}

let stop = (): void => {};

process.on('message', (order: LoadOrder) => {
  if (order.type === 'stop') return stop();
  const counts = { ...NO_COUNTS };
  const recorder = new Recorder(new Successes(Successes.create(LONGEST_RUN)), false);
  const startedAt = process.hrtime.bigint();
  send({ type: 'started', startedAt });
  stop = run(order.plan, 0, recorder, startedAt, (report: ThreadReport) => {
    if (report.type === 'ready') return;
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += report.delta.counts[name];
    if (report.type !== 'done') return;
    const { at, latency, by, identities, losses } = recorder;
    const columns = { at: Float64Array.from(at), latency: Float64Array.from(latency), by: Uint8Array.from(by) };
    send({ type: 'done', record: { ...columns, identities, losses, counts } });
  });
});
process.on('disconnect', () => process.exit());
