// What is shown while a soak runs: one line that is rewritten on a terminal, elsewhere a line now and then.
import type { SoakView } from './soak.js';
import type { Subject } from './subject.js';

const LINE_INTERVAL = 5_000;
const REDRAW_INTERVAL = 500;
const ERASE_LINE = '\r\u001b[K';

export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export class ProgressLine implements SoakView {
  readonly #stream: Stream;
  readonly #total: number;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** `total`: milliseconds to measure. */
  constructor(stream: Stream, total: number) {
    this.#stream = stream;
    this.#total = total;
  }

  progress(subjects: readonly Subject[], measured: number): void {
    const isTerminal = this.#stream.isTTY === true;
    if (performance.now() - this.#lastAt < (isTerminal ? REDRAW_INTERVAL : LINE_INTERVAL)) return;
    this.#lastAt = performance.now();
    const line = this.#line(subjects, measured);
    // A line that wraps cannot be rewritten.
    if (isTerminal) this.#stream.write(ERASE_LINE + line.slice(0, (this.#stream.columns || 80) - 1));
    else this.#stream.write(`${line}\n`);
  }

  end(): void {
    if (this.#stream.isTTY) this.#stream.write(ERASE_LINE);
  }

  #line(subjects: readonly Subject[], measured: number): string {
    if (Number.isNaN(measured)) return 'verify: starting';
    const sum = (of: (subject: Subject) => number): number => subjects.reduce((total, it) => total + of(it), 0);
    const minutes = (ms: number): string => (ms / 60_000).toFixed(1);
    const handovers = subjects.filter(({ asked }) => asked > 0).map(({ asked }) => asked);
    const memory = subjects.map(({ latest }) => (latest === undefined ? '-' : (latest.rssBytes / 1e6).toFixed(0)));
    const when =
      measured < 0
        ? `warming up, ${Math.ceil(-measured / 1_000)} s`
        : `${minutes(measured)} of ${minutes(this.#total)} min`;
    return [
      `verify: ${when}`,
      `handovers ${handovers.join(' + ') || 0}`,
      `${sum(({ load }) => load.progress.ok).toLocaleString('en-US')} ok`,
      `${sum(({ load }) => load.progress.lost)} lost`,
      `${sum(({ load }) => load.progress.closedByServer)} closed`,
      `RSS ${memory.join(' ')} MB`,
    ].join('  ');
  }
}
