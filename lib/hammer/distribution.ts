// Latencies as counts in buckets that widen with the latency: small enough for every tick, and exact to a bucket when merged.
// The histogram of perf_hooks does not give its counts out.

/** Bucket `i` begins at 2^(i / 16) microseconds: each is 4.4 % wide. */
const BUCKETS_PER_OCTAVE = 16;
/** The last bucket holds all latencies from an hour on. */
const BUCKETS = 512;

/** Number of the bucket to its count; empty ones are left out. */
export type Distribution = Readonly<Record<string, number>>;

export class LatencyCounts {
  readonly #counts: Uint32Array = new Uint32Array(BUCKETS);

  record(micros: number): void {
    const bucket = micros <= 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(micros) * BUCKETS_PER_OCTAVE));
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  add(distribution: Distribution): void {
    for (const [bucket, count] of Object.entries(distribution)) {
      const at = Math.min(BUCKETS - 1, Number(bucket));
      this.#counts[at] = (this.#counts[at] ?? 0) + count;
    }
  }

  merge(other: LatencyCounts): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + (other.#counts[bucket] ?? 0);
    }
  }

  get total(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Milliseconds, interpolated within the bucket; 0 without counts. */
  percentile(percent: number): number {
    const wanted = (this.total * percent) / 100;
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = this.#counts[bucket] ?? 0;
      if (count > 0 && below + count >= wanted) {
        return 2 ** ((bucket + (wanted - below) / count) / BUCKETS_PER_OCTAVE) / 1_000;
      }
      below += count;
    }
    return 0;
  }

  toJSON(): Distribution {
    return Object.fromEntries([...this.#counts.entries()].filter(([, count]) => count > 0));
  }
}
