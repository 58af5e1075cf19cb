// The counts over all generations. Each successor inherits them, so that a scraper sees no number go down.
import { HANDOVER_ERROR_CODES, knownCode } from '../errors.js';
import { HANDOVER_RESULTS, type HandoverCounts, type HandoverResult } from '../events.js';
import { type Durations, observe } from './metric-families.js';

export interface MetricState {
  /** Version of the numbers: the greater is the newer. */
  readonly sequence: number;
  /** Counts by result and code. */
  readonly handovers: readonly { readonly result: HandoverResult; readonly code: string; readonly count: number }[];
  /** Durations by phase. */
  readonly phases: Durations;
  readonly moved: number;
  readonly ended: number;
  readonly cut: number;
  /** Ids of the handovers counted last: an outcome may be published twice. */
  readonly counted: readonly string[];
}

const FAILURES = [...HANDOVER_ERROR_CODES, 'ABORT_ERR', 'other'];

function codesOf(result: HandoverResult): readonly string[] {
  if (result === 'failed' || result === 'recalled') return FAILURES;
  return result === 'predecessor-lost' ? ['ERR_HANDOVER_PEER_LOST'] : [''];
}

/** More than the number of handovers that can end while one is under way. */
const MAX_COUNTED = 64;

export const NOTHING_COUNTED: MetricState = {
  sequence: 0,
  // Every series begins at 0: `increase()` of Prometheus does not see the first value of a series.
  handovers: HANDOVER_RESULTS.flatMap((result) => codesOf(result).map((code) => ({ result, code, count: 0 }))),
  phases: {},
  moved: 0,
  ended: 0,
  cut: 0,
  counted: [],
};

/** Adds one handover, unless it is counted already. */
export function count(state: MetricState, outcome: HandoverCounts): MetricState {
  const { handoverId, result, phases, moved, ended, cut } = outcome;
  if (state.counted.includes(handoverId)) return state;
  const code = labelOf(outcome.code);
  const isThis = (row: MetricState['handovers'][number]): boolean => row.result === result && row.code === code;
  const handovers = state.handovers.some(isThis)
    ? state.handovers.map((row) => (isThis(row) ? { ...row, count: row.count + 1 } : row))
    : [...state.handovers, { result, code, count: 1 }];
  return {
    sequence: state.sequence + 1,
    handovers,
    phases: phases.reduce((all, { name, durationMs }) => observe(all, name, durationMs / 1_000), state.phases),
    moved: state.moved + moved,
    ended: state.ended + ended,
    cut: state.cut + cut,
    counted: [...state.counted, handoverId].slice(-MAX_COUNTED),
  };
}

/** Maps the code to a closed list of labels: the caller that aborts a handover may give any reason. */
function labelOf(code: string | undefined): string {
  if (code === undefined) return '';
  return knownCode(code) ?? (code === 'ABORT_ERR' ? code : 'other');
}

export function encodeState(state: MetricState): Uint8Array {
  return Buffer.from(JSON.stringify(state));
}

/** Adds the series that an older version did not know. */
function withAll(handovers: MetricState['handovers']): MetricState['handovers'] {
  const isThere = ({ result, code }: MetricState['handovers'][number]): boolean =>
    handovers.some((row) => row.result === result && row.code === code);
  return [...handovers, ...NOTHING_COUNTED.handovers.filter((row) => !isThere(row))];
}

/** The newer of both states. Bytes that do not parse come from another version and are ignored. */
export function newer(state: MetricState, bytes: Uint8Array | undefined): MetricState {
  if (bytes === undefined) return state;
  try {
    const given = { ...NOTHING_COUNTED, ...(JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<MetricState>) };
    return given.sequence > state.sequence ? { ...given, handovers: withAll(given.handovers) } : state;
  } catch {
    return state;
  }
}
