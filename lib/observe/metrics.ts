// Metrics of handovers for a registry of prom-client: counters that continue over generations, gauges of this process.
import { typeError } from '../errors.js';
import { type HandoverCounts, type HandoverEvents, publish } from '../events.js';
import type { Handover } from '../process/types.js';
import { durationSamples, family, type MetricFamily, type MetricsRegistry, type Sample } from './metric-families.js';
import { count, encodeState, type MetricState, NOTHING_COUNTED, newer } from './metric-state.js';
import { Observer } from './observer.js';

/** The members of a handover that the metrics use; `openHandover()` and `serve()` return one. */
export type MeasuredHandover = Pick<
  Handover,
  'generation' | 'isInCharge' | 'closing' | 'draining' | 'keep' | 'inherited' | 'connectionCount' | 'listeners'
>;

export interface MetricsOptions {
  /** Prefix of every name. @default 'handover_' */
  readonly prefix?: string;
}

/** Kept names of the counts: EARLY before a handover begins, LATE at its COMMIT. */
const EARLY = 'handover-metrics';
const LATE = 'handover-metrics-at-commit';

/** Limit on certificates, of several servers in one process. */
const MAX_CERTIFICATES = 32;

class Metrics {
  readonly #handover: MeasuredHandover;
  readonly #prefix: string;
  #state: MetricState = NOTHING_COUNTED;
  /** Handovers that ended while another was under way: both processes answer scrapers then, and must give the same counts. */
  #waiting: HandoverCounts[] = [];
  readonly #underWay = new Set<string>();
  readonly #certificates = new Map<string, number>();
  #unclaimed = 0;
  readonly #observer = new Observer('metrics');

  constructor(handover: MeasuredHandover, prefix: string) {
    this.#handover = handover;
    this.#prefix = prefix;
    this.#take(EARLY);
    handover.keep(LATE, () => encodeState(this.#waiting.reduce(count, this.#state)));
    this.#observer.on('requested', ({ handoverId }) => this.#underWay.add(handoverId));
    this.#observer.on('outcome', (outcome) => this.#onOutcome(outcome));
    // The successor reports these counts by now, and this process still answers scrapers on connections that stayed.
    this.#observer.on('superseded', () => this.#countWaiting());
    this.#observer.on('in-charge', ({ unclaimed }) => this.#onInCharge(unclaimed));
    this.#observer.on('certificates', ({ subject, validTo }) => this.#onCertificate(subject, validTo));
  }

  readonly stop = (): void => this.#observer.end();

  get families(): readonly MetricFamily[] {
    const named = (name: string): string => `${this.#prefix}${name}`;
    const gauge = (name: string, help: string, samples: () => readonly Sample[]): MetricFamily =>
      family({ name: named(name), help, type: 'gauge', aggregator: 'max' }, samples);
    const counter = (name: string, help: string, samples: () => readonly Sample[]): MetricFamily =>
      family({ name: named(name), help, type: 'counter' }, samples);
    const phases = named('phase_duration_seconds');
    return [
      counter('handovers_total', 'Handovers that are over, by how they ended, over all generations.', () =>
        this.#state.handovers.map(({ result, code, count: value }) => ({ value, labels: { result, code } })),
      ),
      family({ name: phases, help: 'How long the phases of handovers took.', type: 'histogram' }, () =>
        durationSamples(phases, 'phase', this.#state.phases),
      ),
      counter('connections_total', 'What became of the connections of generations that ended.', () => [
        { value: this.#state.moved, labels: { result: 'migrated' } },
        { value: this.#state.ended, labels: { result: 'drained' } },
        { value: this.#state.cut, labels: { result: 'cut' } },
      ]),
      gauge('generation', 'The number of the generation that answers.', () => [
        { value: this.#handover.generation, labels: {} },
      ]),
      gauge('state', 'What the process that answers is: 1 for one of the states.', () => this.#states()),
      gauge('in_progress', 'Handovers under way that this process gives.', () => [
        { value: this.#underWay.size, labels: {} },
      ]),
      gauge('open_connections', 'Open connections by generation; of older ones as they last said.', () =>
        this.#connections(),
      ),
      gauge('accept_queue_depth', 'Connections that wait to be accepted.', () => this.#queues('queueDepth')),
      gauge('accept_queue_limit', 'How many may wait to be accepted.', () => this.#queues('backlogEffective')),
      gauge('unclaimed_descriptors', 'Inherited listeners that the app did not claim in the last handover.', () => [
        { value: this.#unclaimed, labels: {} },
      ]),
      gauge('certificate_not_after_seconds', 'When the certificate ends, in seconds since the epoch.', () =>
        [...this.#certificates].map(([subject, value]) => ({ value, labels: { subject } })),
      ),
    ];
  }

  #states(): Sample[] {
    const own = this.#ownState();
    return STATES.map((state) => ({ value: state === own ? 1 : 0, labels: { state } }));
  }

  #ownState(): (typeof STATES)[number] {
    const { isInCharge, closing } = this.#handover;
    if (isInCharge) return 'serving';
    return closing.aborted ? 'draining' : 'loading';
  }

  /** Labels generations by age, not by number, because every handover makes a new number. */
  #connections(): Sample[] {
    const { connectionCount, draining } = this.#handover;
    const [previous, ...older] = [...draining].sort((a, b) => b.generation - a.generation);
    const sum = older.reduce((all, { connections }) => all + connections, 0);
    return [
      { value: connectionCount, labels: { state: this.#ownState(), generation: 'current' } },
      { value: previous?.connections ?? 0, labels: { state: 'draining', generation: 'previous' } },
      { value: sum, labels: { state: 'draining', generation: 'older' } },
    ];
  }

  #queues(which: 'queueDepth' | 'backlogEffective'): Sample[] {
    return this.#handover.listeners.flatMap(({ name: listener, [which]: value }) =>
      value === undefined ? [] : [{ value, labels: { listener } }],
    );
  }

  #onOutcome(outcome: HandoverEvents['outcome']): void {
    this.#underWay.delete(outcome.handoverId);
    this.#waiting.push(outcome);
    if (this.#underWay.size === 0) this.#countWaiting();
  }

  #countWaiting(): void {
    this.#keep(this.#waiting.splice(0).reduce(count, this.#state));
  }

  #onInCharge(unclaimed: readonly string[]): void {
    this.#unclaimed = unclaimed.length;
    this.#take(LATE);
  }

  #onCertificate(subject: string, validTo: string): void {
    this.#certificates.delete(subject);
    this.#certificates.set(subject, Date.parse(validTo) / 1_000);
    const [oldest] = this.#certificates.keys();
    if (this.#certificates.size > MAX_CERTIFICATES && oldest !== undefined) this.#certificates.delete(oldest);
  }

  #take(name: string): void {
    this.#keep(newer(this.#state, this.#handover.inherited(name)?.bytes()));
  }

  #keep(state: MetricState): void {
    this.#state = state;
    // The successor counts, once this process is superseded or closing.
    if (this.#handover.closing.aborted) return;
    try {
      this.#handover.keep(EARLY, encodeState(state));
    } catch (error) {
      // No descriptor may be free. The counts sent with COMMIT are right nevertheless.
      publish('hook-failed', { name: 'metrics', error: error as Error });
    }
  }
}

const STATES = ['loading', 'serving', 'draining'] as const;

/**
 * Registers the metrics of a handover. Call it before `ready()`, in every release: the counters continue from the values of
 * the predecessor. The returned function ends the counting.
 *
 * @throws TypeError a bad or unknown option
 * @example
 * ```ts
 * import { openHandover } from 'handover';
 * import { registerMetrics } from 'handover/metrics';
 * import { register } from 'prom-client';
 * const handover = await openHandover();
 * registerMetrics(handover, register);
 * ```
 */
export function registerMetrics(
  handover: MeasuredHandover,
  registry: MetricsRegistry,
  options: MetricsOptions = {},
): () => void {
  const metrics = new Metrics(handover, checkPrefix(options));
  try {
    for (const metric of metrics.families) registry.registerMetric(metric);
  } catch (error) {
    metrics.stop();
    throw error;
  }
  return metrics.stop;
}

function checkPrefix(options: MetricsOptions): string {
  const { prefix = 'handover_' } = options;
  const [unknown] = Object.keys(options).filter((name) => name !== 'prefix');
  if (unknown !== undefined) throw typeError(`options.${unknown}`, 'absent; the option is prefix', unknown);
  // Names in the data model of Prometheus.
  if (typeof prefix === 'string' && /^([a-zA-Z_:][\w:]*)?$/.test(prefix)) return prefix;
  throw typeError('options.prefix', 'the beginning of the name of a metric', prefix);
}
