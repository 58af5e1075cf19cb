// `handover/metrics`: metrics of handovers for prom-client, which the app installs itself.

export type { MetricFamily, MetricsRegistry } from './observe/metric-families.js';
export { type MeasuredHandover, type MetricsOptions, registerMetrics } from './observe/metrics.js';
