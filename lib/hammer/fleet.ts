// The threads of a run: starts and stops them together, and adds up their counts.
import type { RecordableHistogram } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { LatencyCounts } from './distribution.js';
import { addSighting, type Sighting } from './identify.js';
import type { LossKind } from './outcome.js';
import type { Plan } from './plan.js';
import {
  addFate,
  type Counts,
  type Delta,
  type Fate,
  type LostBy,
  latencyHistogram,
  NO_COUNTS,
  noLosses,
  Successes,
  type ToldLoss,
} from './tally.js';
import type { ThreadData, ThreadOrder, ThreadReport } from './thread.js';

/** All counts so far. */
export class Totals {
  readonly counts: Counts = { ...NO_COUNTS };
  readonly lostBy: LostBy = noLosses();
  readonly latency: RecordableHistogram = latencyHistogram();
  maxLatencyMs = 0;
  readonly distribution: LatencyCounts = new LatencyCounts();
  readonly fates: Fate[] = [];
  /** Sum of the times that the threads have counted. */
  coveredMs = 0;
  readonly sightings: Map<string, Sighting> = new Map();
  readonly losses: ToldLoss[] = [];
  readonly lostNumbers: Set<number> = new Set();
  readonly unusedNumbers: Set<number> = new Set();

  add(delta: Delta, coveredMs: number): void {
    this.coveredMs += coveredMs;
    for (const name of Object.keys(delta.counts) as (keyof Counts)[]) this.counts[name] += delta.counts[name];
    for (const kind of Object.keys(delta.lostBy) as LossKind[]) this.lostBy[kind] += delta.lostBy[kind];
    if (delta.latency.count > 0) this.latency.add(delta.latency);
    this.maxLatencyMs = Math.max(this.maxLatencyMs, delta.maxLatencyMs);
    this.distribution.add(delta.distribution);
    for (const fate of delta.fates) addFate(this.fates, fate);
    for (const sighting of delta.sightings) addSighting(this.sightings, sighting);
    this.losses.push(...delta.losses);
    for (const number of delta.lostNumbers) this.lostNumbers.add(number);
    for (const number of delta.unusedNumbers) this.unusedNumbers.add(number);
  }

  /** The process whose first answer came last. */
  newest(): string | undefined {
    return [...this.sightings.values()].sort((a, b) => b.firstAt - a.firstAt)[0]?.id;
  }
}

/** Milliseconds that a run may last beyond its end, while requests in flight are awaited. */
const SLACK = 5_000;

export class Fleet {
  readonly totals: Totals = new Totals();
  /** How many numbers each thread has given to requests. */
  readonly issued: number[];
  /** Resolves when the last request of the last thread is settled; rejects when a thread fails. */
  readonly done: Promise<void>;
  readonly #workers: readonly Worker[];
  readonly #ready: Promise<unknown>;
  readonly #successes: Successes;
  /** The time up to which each thread has counted. */
  readonly #countedTo: number[];
  readonly #finished = new Set<number>();
  #startedAt = 0n;
  #epoch = 0;
  #endedAt = 0;

  /** Calls `heard` with each delta after adding it to the totals. */
  constructor(plan: Plan, heard: (delta: Delta, coveredMs: number) => void) {
    const { duration, answerTimeout, connectTimeout } = plan;
    const shared = Successes.create(duration + answerTimeout * 2 + connectTimeout + SLACK);
    this.#successes = new Successes(shared);
    this.issued = new Array<number>(plan.threads).fill(0);
    this.#countedTo = this.issued.slice();
    const url = new URL('./thread.js', import.meta.url);
    this.#workers = this.issued.map((_, index) => {
      return new Worker(url, { workerData: { plan, index, successes: shared } satisfies ThreadData });
    });
    this.#ready = Promise.all(this.#workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
    this.done = Promise.all(this.#workers.map((worker, index) => this.#follow(worker, index, heard))).then(() => {});
    this.done.catch(() => {}); // whoever awaits it is told
  }

  /** Milliseconds since the start. */
  get now(): number {
    return Number(process.hrtime.bigint() - this.#startedAt) / 1e6;
  }

  /** When the last request was settled; ms. */
  get endedAt(): number {
    return this.#endedAt;
  }

  /** Resolves when all threads are loaded. */
  async ready(): Promise<void> {
    await Promise.race([this.#ready, this.done]);
  }

  /** When the run started; milliseconds since the epoch. */
  get startedAt(): number {
    return this.#epoch;
  }

  start(): void {
    this.#startedAt = process.hrtime.bigint();
    // The same clock as in the timelines of the server (timeline-recorder.ts).
    this.#epoch = performance.timeOrigin + performance.now();
    this.#order({ type: 'go', startedAt: this.#startedAt });
  }

  /** Ends new requests; requests in flight are awaited. */
  stop(): void {
    this.#order({ type: 'stop' });
  }

  /** Ends all threads, whether the run is complete or not. */
  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** Time of the first success; ms. */
  get firstSuccess(): number | undefined {
    return this.#successes.first;
  }

  /** The longest time without a success; ms. */
  longestGap(from: number, to: number): number {
    return this.#successes.longestGap(from, to);
  }

  #order(order: ThreadOrder): void {
    for (const worker of this.#workers) worker.postMessage(order);
  }

  #follow(worker: Worker, index: number, heard: (delta: Delta, coveredMs: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      worker.on('message', (report: ThreadReport) => {
        if (report.type === 'ready') return;
        this.issued[index] = report.issued;
        const coveredMs = this.#cover(index, report.at);
        this.totals.add(report.delta, coveredMs);
        heard(report.delta, coveredMs);
        if (report.type !== 'done') return;
        this.#endedAt = Math.max(this.#endedAt, report.at);
        this.#finished.add(index);
      });
      worker.once('error', reject);
      worker.once('exit', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`a thread of the load ended with code ${code}`));
      });
    });
  }

  /** Adds to the covered time. A finished thread counts as covering the time of the others: it had its share of the rate. */
  #cover(index: number, until: number): number {
    let coveredMs = 0;
    for (const one of [index, ...this.#finished]) {
      const from = this.#countedTo[one] ?? 0;
      coveredMs += Math.max(0, until - from);
      this.#countedTo[one] = Math.max(from, until);
    }
    return coveredMs;
  }
}
