// Numbers in the shape prom-client collects, without prom-client: its own counters and histograms cannot be given the
// values that an older generation had.

/** One sample of a family. */
export interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** What a registry of prom-client asks of a metric. */
export interface MetricFamily {
  /** Without `_total` where it collects for OpenMetrics: it changes that itself. */
  name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator: 'sum' | 'max';
  get(): Promise<object>;
  reset(): void;
}

/** A registry of prom-client 14 or newer, which is given {@link MetricFamily} objects: its own metrics are classes. */
export interface MetricsRegistry {
  registerMetric(metric: object): unknown;
}

interface Description {
  readonly name: string;
  readonly help: string;
  readonly type: MetricFamily['type'];
  readonly aggregator?: MetricFamily['aggregator'];
}

/** A family whose samples are asked for at each scrape. */
export function family(
  { name, help, type, aggregator = 'sum' }: Description,
  samples: () => readonly Sample[],
): MetricFamily {
  return {
    name,
    help,
    type,
    aggregator,
    get() {
      return Promise.resolve({ name: this.name, help, type, aggregator, values: samples() });
    },
    // Values of older generations are in it: nobody has a new beginning.
    reset() {},
  };
}

/** Upper bounds in seconds: a switch takes milliseconds, a drain may take half an hour. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];

/** A histogram's numbers, one set for each value of its label. */
export interface Durations {
  readonly [label: string]: { readonly counts: readonly number[]; readonly sum: number };
}

/** With one more observation. */
export function observe(durations: Durations, label: string, seconds: number): Durations {
  const { counts = [], sum = 0 } = durations[label] ?? {};
  // One more than there are bounds: whatever is above them all.
  const index = BOUNDS.findIndex((bound) => seconds <= bound);
  const own = index === -1 ? BOUNDS.length : index;
  const next = Array.from({ length: BOUNDS.length + 1 }, (_, i) => (counts[i] ?? 0) + (i === own ? 1 : 0));
  return { ...durations, [label]: { counts: next, sum: sum + seconds } };
}

export function durationSamples(name: string, labelName: string, durations: Durations): Sample[] {
  return Object.entries(durations).flatMap(([label, { counts, sum }]) => {
    let count = 0;
    const buckets = counts.map((own, i): Sample => {
      count += own;
      return {
        metricName: `${name}_bucket`,
        value: count,
        labels: { le: BOUNDS[i] ?? '+Inf', [labelName]: label },
      };
    });
    const labels = { [labelName]: label };
    return [
      ...buckets,
      { metricName: `${name}_sum`, value: sum, labels },
      { metricName: `${name}_count`, value: count, labels },
    ];
  });
}
