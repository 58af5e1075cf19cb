// The table of a chaos run, and what is printed of a schedule that failed: all that is needed to play it again.
import type { Failure } from '../faults/client.js';
import type { RoundResult } from './round.js';
import { formatSchedule, MODES } from './schedule.js';

export function failed({ losses, twice, splits, left, wrong }: RoundResult): boolean {
  return losses.length + twice.length + splits.length + left.length + wrong.length > 0;
}

/** Hundreds of connections fail alike. */
function some(lines: readonly string[], most = 8): string[] {
  return lines.length <= most ? [...lines] : [...lines.slice(0, most), `and ${lines.length - most} more`];
}

function failureText({ id, kind, detail, target, port }: Failure): string {
  return `${id} (${kind}, ${target}${port === undefined ? '' : ` ${port}`}): ${detail}`;
}

/** What was wrong, the schedule with what came of each step, and with `isLong` all that its processes said. */
export function explain(result: RoundResult, isLong: boolean): string {
  const { schedule, trace, story } = result;
  const lines = [
    ...result.splits.map((line) => `split: ${line}`),
    ...result.wrong,
    ...some(result.losses.map((failure) => `lost ${failureText(failure)}`)),
    ...some(result.twice.map((line) => `twice: ${line}`)),
    ...result.left.map((line) => `left: ${line}`),
  ];
  const played = ['as it went (ms):', ...trace].join('\n    ');
  const script = formatSchedule(schedule).replaceAll('\n', '\n    ');
  const text = `${lines.map((line) => `  - ${line}`).join('\n')}\n  schedule:\n    ${script}\n  ${played}`;
  return isLong ? `${text}\n${story.replace(/^.* frame .*HEARTBEAT.*\n/gm, '')}` : text;
}

const COLUMNS = [
  'schedules',
  'steps',
  'upgrades tried',
  'succeeded',
  'requests',
  'excused',
  'lost',
  'twice',
  'splits',
  'left behind',
  'wrong end',
] as const;

/** The columns of some results, by name. */
function countsOf(results: readonly RoundResult[]): Record<(typeof COLUMNS)[number], number> {
  const sum = (count: (result: RoundResult) => number): number =>
    results.reduce((total, result) => total + count(result), 0);
  return {
    schedules: results.length,
    steps: sum(({ schedule }) => schedule.steps.length),
    'upgrades tried': sum(({ upgrades }) => upgrades.tried),
    succeeded: sum(({ upgrades }) => upgrades.succeeded),
    requests: sum(({ requests }) => requests),
    excused: sum(({ excused }) => excused.length),
    lost: sum(({ losses }) => losses.length),
    twice: sum(({ twice }) => twice.length),
    splits: sum(({ splits }) => splits.length),
    'left behind': sum(({ left }) => left.length),
    'wrong end': sum(({ wrong }) => wrong.length),
  };
}

/** One line for each mode that was played, and their sum. */
export function formatTable(results: readonly RoundResult[]): string {
  const groups = MODES.map((mode) => [mode, results.filter(({ schedule }) => schedule.mode === mode)] as const);
  const rows = [...groups.filter(([, group]) => group.length > 0), ['all', results] as const].map(([name, group]) => {
    const counts = countsOf(group);
    return [name, ...COLUMNS.map((column) => String(counts[column]))];
  });
  const cells = [['', ...COLUMNS], ...rows];
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0))) ?? [];
  return cells
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n');
}

/** For a program that reads it. */
export function summary(results: readonly RoundResult[], seed: number): object {
  const modes = Object.fromEntries(
    MODES.map((mode) => [mode, countsOf(results.filter(({ schedule }) => schedule.mode === mode))]),
  );
  const failures = results.filter(failed).map(({ schedule, splits, losses, twice, left, wrong, trace }) => ({
    mode: schedule.mode,
    seed: schedule.seed,
    schedule: formatSchedule(schedule),
    ...{ splits, losses, twice, left, wrong, trace },
  }));
  return { seed, isRight: failures.length === 0, modes, all: countsOf(results), failures };
}
