// What a benchmark is: one file that exports `bench`, named in bench/index.ts and loaded only when it is asked for.

import type { Spread } from './stats.js';

export interface BenchOptions {
  /** How often every contestant takes its turn; the figures are medians over the rounds. */
  readonly rounds: number;
  /** Little work a turn: shows that the benchmark runs, its figures mean nothing. */
  readonly quick: boolean;
  /** Says how far it is; on a terminal each text replaces the one before. */
  readonly progress: (text: string) => void;
}

/** A bar that was set, and what this run says of it. */
export interface Expectation {
  readonly name: string;
  readonly expectation: string;
  readonly measured: string;
  /** Undefined: too few rounds show neither. */
  readonly reached: boolean | undefined;
}

/** Bars beside each other, each with its spread. */
export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly { readonly name: string; readonly value: Spread }[];
}

export interface Report {
  /** For people at a terminal: tables, and what was left out and why. */
  readonly text: string;
  /** For the page: the tables of the text, their first line the header. Without them the page shows the text. */
  readonly tables?: readonly (readonly (readonly string[])[])[];
  /** For the page: what stands below the tables. */
  readonly notes?: readonly string[];
  /** For the page. */
  readonly charts?: readonly Chart[];
  /** The bars that were set for it. */
  readonly expectations?: readonly Expectation[];
  /** For programs: one object a row. */
  readonly rows: readonly object[];
  /** For programs: what belongs to no row. */
  readonly figures?: object;
  /** Contestants this machine cannot run, by name. */
  readonly skipped: readonly string[];
}

export interface Bench {
  readonly defaultRounds: number;
  run(options: BenchOptions): Promise<Report>;
}
