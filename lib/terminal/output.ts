// The output of the commands on stdout and stderr: text for people, or lines of JSON for programs. `handover run` has its own
// reporter (run-options.ts).
import type { Json } from '../protocol/rpc.js';

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

const CODES: { readonly [S in Style]: readonly [number, number] } = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
};

export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

export class Output {
  readonly isJson: boolean;
  readonly #out: Stream;
  readonly #err: Stream;
  readonly #hasColours: boolean;

  constructor(
    isJson: boolean,
    variables: NodeJS.ProcessEnv,
    out: Stream = process.stdout,
    err: Stream = process.stderr,
  ) {
    this.isJson = isJson;
    this.#out = out;
    this.#err = err;
    // no-color.org: set and not empty.
    this.#hasColours = out.isTTY === true && !variables.NO_COLOR && variables.TERM !== 'dumb';
  }

  /** Writes a line for people; with `--json` nothing. */
  line(text: string = ''): void {
    if (!this.isJson) this.#out.write(`${text}\n`);
  }

  /** Whether stdout is a terminal for people: repeated drawing would be noise in a file. */
  get isTerminal(): boolean {
    return !this.isJson && this.#out.isTTY === true;
  }

  /** Writes the text as it is to a terminal; elsewhere nothing. */
  draw(text: string): void {
    if (this.isTerminal) this.#out.write(text);
  }

  /** Writes one line for programs; without `--json` nothing. */
  json(value: Json | object): void {
    if (this.isJson) this.#out.write(`${JSON.stringify(value)}\n`);
  }

  /** Writes to stderr, also with `--json`, why there is no result. */
  error(text: string): void {
    this.#err.write(`${text}\n`);
  }

  styled(style: Style, text: string): string {
    const [on, off] = CODES[style];
    return this.#hasColours ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  }

  /** Columns as wide as their widest cell. */
  table(rows: readonly (readonly string[])[]): void {
    const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
    for (const row of rows)
      this.line(
        row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd(),
      );
  }
}
