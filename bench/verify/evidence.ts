// All that a soak has found, as plain data: what the checks judge, and what report.json keeps.
import type { LoadResult } from './load.js';
import type { TargetKind } from './options.js';
import type { ListenCounters } from './proc.js';
import type { RawResult } from './raw-clients.js';
import type { Answers } from './target.js';

export interface Sample {
  /** Since measuring began. */
  readonly minutes: number;
  readonly rssBytes: number;
  readonly descriptors: number;
}

/** One process, one role that processes take over from each other, or a sum of processes, over time. */
export interface Series {
  readonly name: string;
  readonly samples: readonly Sample[];
}

export interface GenerationEnd {
  readonly generation: number;
  readonly pid: number;
  /** Undefined: it never said, as one that is killed does not. */
  readonly exitCode: number | undefined;
}

export interface TargetEvidence {
  readonly kind: TargetKind;
  /** Undefined with `loadProblem`. */
  readonly load: LoadResult | undefined;
  readonly loadProblem: string | undefined;
  readonly raw: RawResult;
  readonly handovers: { readonly asked: number; readonly completed: number; readonly failures: readonly string[] };
  readonly generations: readonly GenerationEnd[];
  /** Of the process we started: `exit code 0`. For a supervisor its own end, for the others that of generation 1. */
  readonly exit: string | undefined;
  /** What the servers say they have answered; undefined where the last one did not say. */
  readonly answered: Answers | undefined;
  readonly series: readonly Series[];
  readonly alive: {
    readonly most: number;
    readonly atMost: number;
    /** At rest, just before a handover. */
    readonly mostAtRest: number;
    readonly atRest: number;
  };
  /** Processes that had to be killed, zombies, files, listeners. */
  readonly left: readonly string[];
}

export interface Evidence {
  readonly targets: readonly TargetEvidence[];
  readonly kernel: {
    /** Of the network namespace. */
    readonly before: ListenCounters;
    readonly after: ListenCounters;
    /** Dropped at the listeners of the soak alone; undefined where nobody tells. */
    readonly atListeners: number | undefined;
  };
  /** What was measured, which an interruption makes shorter than what was asked for. */
  readonly minutes: number;
  readonly rssLimit: number;
  /** Heap snapshots, the early and the late one of each process. */
  readonly snapshots: readonly string[];
  /** Those that were to be written and are not there: `chain, late`. */
  readonly missingSnapshots: readonly string[];
}
