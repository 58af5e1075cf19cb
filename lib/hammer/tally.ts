// Counts what the clients of one thread report; every `drain` gives what came since the last one.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { type Distribution, LatencyCounts } from './distribution.js';
import { addSighting, type Sighting } from './identify.js';
import { LOSS_KINDS, type Loss, type LossKind } from './outcome.js';

/** The histogram Node has in its core is an HDR histogram (deps/histogram): microseconds, three digits, up to an hour. */
export function latencyHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600_000_000, figures: 3 });
}

/** So lost, a request never was with the server as a whole: that it was not begun there is no gap. */
const NEVER_WHOLE: ReadonlySet<LossKind> = new Set(['refused', 'resetBeforeWrite']);

/** Losses kept in full, for each thread; all are counted. */
const LOSSES_TOLD = 100;

/** Plain counts; they add up over ticks and threads. */
export interface Counts {
  ok: number;
  /** Of these, right answers that came after the last new request could begin: of no rate. */
  late: number;
  lost: number;
  /** Sockets that connected. */
  opened: number;
  /** Of these, those that have ended, whoever ended them. */
  closed: number;
  /** Connections the server ended although the client had not asked it to. */
  closedByServer: number;
  /** Connections that ended by a reset, or by a write the other side no longer took. */
  resets: number;
  /** Connections opened because the server had ended one that its client would have used again. */
  reconnects: number;
  handshakes: number;
  resumed: number;
  /** Connects that took longer than the connect timeout; they are among the refused. */
  slowConnects: number;
  /** Bytes nobody had asked for, between two requests; they are among the wrong bodies. */
  unasked: number;
  /** Requests that were due and had not even begun when they were given up. */
  notSent: number;
  /** This machine had no port or descriptor for a connection. */
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

/** What became of connections a process had answered on: another one answered, or (`null`) the server closed them. */
export interface Fate {
  readonly from: string;
  readonly to: string | null;
  readonly connections: number;
}

/** Adds up what several threads saw. */
export function addFate(fates: Fate[], { from, to, connections }: Fate): void {
  const at = fates.findIndex((known) => known.from === from && known.to === to);
  const before = fates[at]?.connections ?? 0;
  fates.splice(at === -1 ? fates.length : at, 1, { from, to, connections: before + connections });
}

/** What a thread sends: what happened since the last one. */
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
  /** Ledger mode: numbers that were given to requests which could not be made, or not be sent. */
  readonly unusedNumbers: readonly number[];
}

/** When successes came, for all threads: a byte for each slot of time, so that gaps are those of the whole run. */
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

  /** When the first one came, as exactly as a slot; undefined without any. */
  get first(): number | undefined {
    const slot = this.#slots.indexOf(1);
    return slot === -1 ? undefined : slot * this.#slotTime;
  }

  /** The longest time without a success between two moments, their own ends included; ms. */
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
  /** The same process answers again and again: its sighting is changed in place. */
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

  /** A request that was due and never began. It has no latency: that is of right answers. */
  notSent(number?: number): void {
    this.counts.notSent++;
    if (number !== undefined && this.#isNumbered) this.#unusedNumbers.push(number);
  }

  /** No new requests: what is answered from here on is late. */
  stop(): void {
    this.#isLate = true;
  }

  /** See {@link Fate}: of one connection. */
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
    // A new one: a clone that was posted shares the memory of its original.
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
