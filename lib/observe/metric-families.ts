// Numbers in the shape that prom-client collects, without prom-client: its own counters and histograms cannot start from the
// values of an older generation.

/** One sample of a family. */
export interface Sample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** The members of a metric that a registry of prom-client uses. */
export interface MetricFamily {
  /** The registry removes `_total` itself when it collects for OpenMetrics, so the name is writable. */
  name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator: 'sum' | 'max';
  get(): Promise<object>;
  reset(): void;
}

/** A registry of prom-client 14 or newer. It gets {@link MetricFamily} objects, while its own metrics are classes. */
export interface MetricsRegistry {
  registerMetric(metric: object): unknown;
}

interface Description {
  readonly name: string;
  readonly help: string;
  readonly type: MetricFamily['type'];
  readonly aggregator?: MetricFamily['aggregator'];
}

/** A family that computes its samples at each scrape. */
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
    // Does nothing: the values of older generations cannot begin anew.
    reset() {},
  };
}

/** Upper bounds in seconds: a switch takes milliseconds, a drain may take half an hour. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];

/** A histogram's numbers, one set for each value of its label. */
export interface Durations {
  readonly [label: string]: { readonly counts: readonly number[]; readonly sum: number };
}

/** Adds one observation. */
export function observe(durations: Durations, label: string, seconds: number): Durations {
  const { counts = [], sum = 0 } = durations[label] ?? {};
  // The last count is for values above all bounds.
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
