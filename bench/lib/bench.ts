// What a benchmark is: one file that exports `bench`, named in bench/index.ts and loaded only when it is asked for.

export interface BenchOptions {
  /** How often every contestant takes its turn; the figures are medians over the rounds. */
  readonly rounds: number;
  /** Little work a turn: shows that the benchmark runs, its figures mean nothing. */
  readonly quick: boolean;
  /** Says how far it is; on a terminal each text replaces the one before. */
  readonly progress: (text: string) => void;
}

export interface Report {
  /** For people: tables, and what was left out and why. */
  readonly text: string;
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
