// The table of the matrix: what was tried, and the four columns that must be 0.
import type { CaseResult } from './case.js';
import { label } from './points.js';

export function failed({ lost, refused, twice, leaked, wrong }: CaseResult): boolean {
  return lost.length + refused.length + twice.length + leaked.length + wrong.length > 0;
}

/** Hundreds of connections of one batch fail alike. */
function some(lines: readonly string[], most = 6): string[] {
  return lines.length <= most ? [...lines] : [...lines.slice(0, most), `and ${lines.length - most} more`];
}

/** What was wrong with a case, and what its processes said. */
export function explain({ cell, lost, refused, twice, leaked, wrong, story }: CaseResult): string {
  const lines = [
    ...wrong,
    ...some(lost.map(({ id, kind, detail, target }) => `lost ${id} (${kind}, ${target}): ${detail}`)),
    ...some(refused.map(({ id, detail, target }) => `refused ${id} (${target}): ${detail}`)),
    ...some(twice.map((line) => `twice: ${line}`)),
    ...leaked.map((line) => `leaked: ${line}`),
  ];
  return `${label(cell)}:\n${lines.map((line) => `  - ${line}`).join('\n')}\n${story}`;
}

const COLUMNS = ['cases', 'requests', 'lost beyond', 'owned by the killed', 'refused', 'twice', 'leaked', 'wrong end'];

function row(name: string, results: readonly CaseResult[]): string[] {
  const sum = (count: (result: CaseResult) => number): string =>
    String(results.reduce((total, result) => total + count(result), 0));
  return [
    name,
    String(results.length),
    sum(({ requests }) => requests),
    sum(({ lost }) => lost.length),
    sum(({ owned }) => owned.length),
    sum(({ refused }) => refused.length),
    sum(({ twice }) => twice.length),
    sum(({ leaked }) => leaked.length),
    sum(({ wrong }) => wrong.length),
  ];
}

/** One line for each faulty role and kind, and their sum. */
export function formatTable(results: readonly CaseResult[]): string {
  const groups = new Map<string, CaseResult[]>();
  for (const result of results) {
    const key = `${result.cell.point.role} ${result.cell.kind}`;
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  const rows = [['', ...COLUMNS], ...[...groups].map(([name, group]) => row(name, group)), row('all', results)];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0))) ?? [];
  return rows
    .map((cells) =>
      cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n');
}
