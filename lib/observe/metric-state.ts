// What is counted over all generations: it travels to each successor, so that a scraper sees no number go down.
import { HANDOVER_ERROR_CODES, knownCode } from '../errors.js';
import { HANDOVER_RESULTS, type HandoverCounts, type HandoverResult } from '../events.js';
import { type Durations, observe } from './metric-families.js';

export interface MetricState {
  /** Of the numbers: the greater is the newer. */
  readonly sequence: number;
  /** By result and code. */
  readonly handovers: readonly { readonly result: HandoverResult; readonly code: string; readonly count: number }[];
  /** By phase. */
  readonly phases: Durations;
  readonly moved: number;
  readonly ended: number;
  readonly cut: number;
  /** The last that were counted: one may be told of twice. */
  readonly counted: readonly string[];
}

const FAILURES = [...HANDOVER_ERROR_CODES, 'ABORT_ERR', 'other'];

function codesOf(result: HandoverResult): readonly string[] {
  if (result === 'failed' || result === 'recalled') return FAILURES;
  return result === 'predecessor-lost' ? ['ERR_HANDOVER_PEER_LOST'] : [''];
}

/** More than can end while one handover goes on. */
const MAX_COUNTED = 64;

export const NOTHING_COUNTED: MetricState = {
  sequence: 0,
  // There from the beginning: the first one of a series that begins with it is none to `increase()`.
  handovers: HANDOVER_RESULTS.flatMap((result) => codesOf(result).map((code) => ({ result, code, count: 0 }))),
  phases: {},
  moved: 0,
  ended: 0,
  cut: 0,
  counted: [],
};

/** With one more handover; the same where that is counted already. */
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

/** A closed list: whoever aborts a handover may give any reason. */
function labelOf(code: string | undefined): string {
  if (code === undefined) return '';
  return knownCode(code) ?? (code === 'ABORT_ERR' ? code : 'other');
}

export function encodeState(state: MetricState): Uint8Array {
  return Buffer.from(JSON.stringify(state));
}

/** With those an older version did not know of. */
function withAll(handovers: MetricState['handovers']): MetricState['handovers'] {
  const isThere = ({ result, code }: MetricState['handovers'][number]): boolean =>
    handovers.some((row) => row.result === result && row.code === code);
  return [...handovers, ...NOTHING_COUNTED.handovers.filter((row) => !isThere(row))];
}

/** Whichever is newer; bytes nobody can read are of another version, and count for nothing. */
export function newer(state: MetricState, bytes: Uint8Array | undefined): MetricState {
  if (bytes === undefined) return state;
  try {
    const given = { ...NOTHING_COUNTED, ...(JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<MetricState>) };
    return given.sequence > state.sequence ? { ...given, handovers: withAll(given.handovers) } : state;
  } catch {
    return state;
  }
}
