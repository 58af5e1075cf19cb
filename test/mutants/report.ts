// What became of the mutants, from StrykerJS' report: a row for each folder, a line for each mutant that no test noticed.
import { table } from '../../bench/lib/table.js';

interface Position {
  readonly line: number;
  /** 1 is the first. */
  readonly column: number;
}

interface Mutant {
  readonly status: 'Killed' | 'Timeout' | 'Survived' | 'NoCoverage' | 'RuntimeError' | 'Ignored';
  readonly mutatorName: string;
  readonly replacement?: string;
  readonly location: { readonly start: Position; readonly end: Position };
}

/** The part of the mutation testing report that is read here. */
export interface Report {
  readonly files: Readonly<Record<string, { readonly source: string; readonly mutants: readonly Mutant[] }>>;
}

/** A mutant that no test noticed. */
export interface Survivor {
  readonly at: string;
  readonly isCovered: boolean;
  readonly was: string;
  readonly is: string;
}

export interface Row {
  readonly folder: string;
  readonly mutants: number;
  readonly killed: number;
  /** Noticed too: the tests came to no end. */
  readonly timeout: number;
  readonly survived: number;
  readonly noCoverage: number;
  /** Noticed too: a test file could not be loaded, or an error came outside of a test. */
  readonly errors: number;
  /** Percent of the mutants that were noticed. */
  readonly score: number;
  readonly survivors: readonly Survivor[];
}

export function rowOf(folder: string, { files }: Report, isWanted: (path: string) => boolean): Row {
  const wanted = Object.entries(files).filter(([path]) => isWanted(path));
  const mutants = wanted.flatMap(([, file]) => file.mutants).filter(({ status }) => status !== 'Ignored');
  const count = (...statuses: Mutant['status'][]): number =>
    mutants.filter(({ status }) => statuses.includes(status)).length;
  const noticed = count('Killed', 'Timeout', 'RuntimeError');
  return {
    folder,
    mutants: mutants.length,
    killed: count('Killed'),
    timeout: count('Timeout'),
    survived: count('Survived'),
    noCoverage: count('NoCoverage'),
    errors: count('RuntimeError'),
    score: (100 * noticed) / Math.max(1, mutants.length),
    survivors: wanted.flatMap(([path, { source, mutants }]) =>
      mutants
        .filter(({ status }) => status === 'Survived' || status === 'NoCoverage')
        .map((mutant) => survivor(path, source, mutant)),
    ),
  };
}

function survivor(path: string, source: string, { status, replacement, location }: Mutant): Survivor {
  return {
    at: `${path}:${location.start.line}`,
    isCovered: status === 'Survived',
    was: short(textAt(source, location)),
    is: short(replacement ?? ''),
  };
}

function textAt(source: string, { start, end }: Mutant['location']): string {
  const lines = source.split('\n');
  const offset = ({ line, column }: Position): number =>
    lines.slice(0, line - 1).reduce((sum, { length }) => sum + length + 1, 0) + column - 1;
  return source.slice(offset(start), offset(end));
}

function short(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length > 70 ? `${line.slice(0, 69)}…` : line;
}

export function formatSurvivors(survivors: readonly Survivor[]): string {
  return survivors
    .map(({ at, isCovered, was, is }) => `${at}${isCovered ? '' : ' (no test comes here)'}: ${was} → ${is}`)
    .join('\n');
}

export function formatTable(rows: readonly Row[]): string {
  return table([
    ['folder', 'mutants', 'killed', 'timeout', 'survived', 'no coverage', 'errors', 'score'],
    ...rows.map(({ folder, score, ...counts }) => [
      folder,
      ...[counts.mutants, counts.killed, counts.timeout, counts.survived, counts.noCoverage, counts.errors].map(String),
      `${score.toFixed(1)} %`,
    ]),
  ]);
}
