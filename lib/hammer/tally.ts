// Counts the reports of one thread's clients; each `drain` returns the counts since the last one.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { type Distribution, LatencyCounts } from './distribution.js';
import { addSighting, type Sighting } from './identify.js';
import { LOSS_KINDS, type Loss, type LossKind } from './outcome.js';

/** Node's own HDR histogram (deps/histogram): microseconds, three digits, up to an hour. */
export function latencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
}

/** Losses before the server had the whole request: it is no gap in the ledger that the server did not begin it. */
const NEVER_WHOLE: ReadonlySet<LossKind> = new Set(['refused', 'resetBeforeWrite']);

/** Losses kept in full for each thread; further ones are only counted. */
const LOSSES_TOLD = 100;

/** Plain counts; they add up over ticks and threads. */
export interface Counts {
  ok: number;
  /** Expected answers after the end of new requests; part of `ok`, but of no rate. */
  late: number;
  lost: number;
  /** Sockets that connected. */
  opened: number;
  /** Opened sockets that have ended, by client or server. */
  closed: number;
  /** Connections that the server ended without the client asking for it. */
  closedByServer: number;
  /** Connections that ended by a reset, or by a write after one. */
  resets: number;
  /** Connections opened because the server had ended one that the client would have reused. */
  reconnects: number;
  handshakes: number;
  resumed: number;
  /** Connects that took longer than the connect timeout; part of the refused. */
  slowConnects: number;
  /** Times that bytes came without a request; part of the wrong bodies. */
  unasked: number;
  /** Requests that were due and were given up before they began. */
  notSent: number;
  /** Connections for which this machine had no port or descriptor. */
  ownFaults: number;
}

export const NO_COUNTS: Readonly<Counts> = {
  ok: 0,
  late: 0,
  lost: 0,
  opened: 0,
  closed: 0,
  closedByServer: 0,
  resets: 0,
  reconnects: 0,
  handshakes: 0,
  resumed: 0,
  slowConnects: 0,
  unasked: 0,
  notSent: 0,
  ownFaults: 0,
};

export type LostBy = Record<LossKind, number>;

export function noLosses(): LostBy {
  return Object.fromEntries(Object.keys(LOSS_KINDS).map((kind) => [kind, 0])) as LostBy;
}

/** One loss in full. */
export interface ToldLoss extends Loss {
  /** Milliseconds since the start of the run. */
  readonly atMs: number;
}

/** The further course of connections that a process answered on: another one answered, or (`null`) the server closed them. */
export interface Fate {
  readonly from: string;
  readonly to: string | null;
  readonly connections: number;
}

/** Merges the counts of several threads. */
export function addFate(fates: Fate[], { from, to, connections }: Fate): void {
  const at = fates.findIndex((known) => known.from === from && known.to === to);
  const before = fates[at]?.connections ?? 0;
  fates.splice(at === -1 ? fates.length : at, 1, { from, to, connections: before + connections });
}

/** The message of a thread: its counts since the last one. */
export interface Delta {
  readonly counts: Counts;
  readonly lostBy: LostBy;
  readonly latency: RecordableHistogram;
  readonly maxLatencyMs: number;
  readonly distribution: Distribution;
  readonly fates: readonly Fate[];
  readonly sightings: readonly Sighting[];
  readonly losses: readonly ToldLoss[];
  /** Ledger mode: the numbers of lost requests. */
  readonly lostNumbers: readonly number[];
  /** Ledger mode: the numbers of requests that could not be made or sent. */
  readonly unusedNumbers: readonly number[];
}

/** Times of the successes of all threads: a shared byte for each slot of time, so that gaps are those of the whole run. */
export class Successes {
  readonly #slots: Uint8Array;
  readonly #slotTime: number;

  /** For a run of at most `time` ms. */
  static create(time: number): { readonly buffer: SharedArrayBuffer; readonly slotTime: number } {
    const slotTime = time <= 600_000 ? 0.1 : 1;
    return { buffer: new SharedArrayBuffer(Math.ceil(time / slotTime) + 1), slotTime };
  }

  constructor({ buffer, slotTime }: { readonly buffer: SharedArrayBuffer; readonly slotTime: number }) {
    this.#slots = new Uint8Array(buffer);
    this.#slotTime = slotTime;
  }

  mark(at: number): void {
    this.#slots[Math.trunc(at / this.#slotTime)] = 1;
  }

  /** Time of the first success, exact to a slot; undefined without any. */
  get first(): number | undefined {
    const slot = this.#slots.indexOf(1);
    return slot === -1 ? undefined : slot * this.#slotTime;
  }

  /** The longest time without a success between two moments, which bound gaps, too; ms. */
  longestGap(from: number, to: number): number {
    let last = from / this.#slotTime;
    let longest = 0;
    const end = Math.min(to / this.#slotTime, this.#slots.length);
    for (let slot = Math.trunc(last); slot < end; slot++) {
      if (this.#slots[slot] === 0) continue;
      longest = Math.max(longest, slot - last);
      last = slot;
    }
    return Math.round(Math.max(longest, end - last) * this.#slotTime * 10) / 10;
  }
}

export class Tally {
  counts: Counts = { ...NO_COUNTS };
  readonly #successes: Successes;
  readonly #isNumbered: boolean;
  #lostBy = noLosses();
  #latency = latencyHistogram();
  #maxLatency = 0;
  #distribution = new LatencyCounts();
  #fates: Fate[] = [];
  #sightings = new Map<string, Sighting>();
  /** Changed in place, because the same process answers again and again. */
  #seen: { -readonly [K in keyof Sighting]: Sighting[K] } | undefined;
  #losses: ToldLoss[] = [];
  #lostNumbers: number[] = [];
  #unusedNumbers: number[] = [];
  #told = 0;
  #isLate = false;

  constructor(successes: Successes, isNumbered: boolean) {
    this.#successes = successes;
    this.#isNumbered = isNumbered;
  }

  ok(latency: number, now: number, identity: string | undefined): void {
    this.counts.ok++;
    if (this.#isLate) this.counts.late++;
    this.#record(latency);
    this.#successes.mark(now);
    if (identity !== undefined) this.#see(identity, now);
  }

  lost(loss: Loss, number: number, now: number): void {
    this.counts.lost++;
    this.#lostBy[loss.kind]++;
    if (this.#isNumbered) {
      this.#lostNumbers.push(number);
      if (NEVER_WHOLE.has(loss.kind)) this.#unusedNumbers.push(number);
    }
    if (this.#told++ < LOSSES_TOLD) this.#losses.push({ ...loss, atMs: Math.round(now * 1_000) / 1_000 });
  }

  /** Counts a request that was due and never began. It has no latency, which only expected answers have. */
  notSent(number?: number): void {
    this.counts.notSent++;
    if (number !== undefined && this.#isNumbered) this.#unusedNumbers.push(number);
  }

  /** New requests have ended: later answers count as late. */
  stop(): void {
    this.#isLate = true;
  }

  /** Counts the {@link Fate} of one connection. */
  fate(from: string, to: string | null): void {
    addFate(this.#fates, { from, to, connections: 1 });
  }

  drain(): Delta {
    this.#settleSeen();
    const delta: Delta = {
      counts: this.counts,
      lostBy: this.#lostBy,
      latency: this.#latency,
      maxLatencyMs: this.#maxLatency,
      distribution: this.#distribution.toJSON(),
      fates: this.#fates,
      sightings: [...this.#sightings.values()],
      losses: this.#losses,
      lostNumbers: this.#lostNumbers,
      unusedNumbers: this.#unusedNumbers,
    };
    this.counts = { ...NO_COUNTS };
    this.#lostBy = noLosses();
    // A new histogram, because a posted clone shares the memory of its original.
    this.#latency = latencyHistogram();
    this.#maxLatency = 0;
    this.#distribution = new LatencyCounts();
    this.#fates = [];
    this.#sightings = new Map();
    this.#losses = [];
    this.#lostNumbers = [];
    this.#unusedNumbers = [];
    return delta;
  }

  #record(latency: number): void {
    if (latency > this.#maxLatency) this.#maxLatency = latency;
    const micros = Math.max(1, Math.round(latency * 1_000));
    this.#latency.record(micros);
    this.#distribution.record(micros);
  }

  #see(id: string, now: number): void {
    if (this.#seen?.id !== id) {
      this.#settleSeen();
      this.#seen = { id, answers: 0, firstAt: now, lastAt: now };
    }
    this.#seen.answers++;
    this.#seen.lastAt = now;
  }

  #settleSeen(): void {
    if (this.#seen !== undefined) addSighting(this.#sightings, this.#seen);
    this.#seen = undefined;
  }
}
