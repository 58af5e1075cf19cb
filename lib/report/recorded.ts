// `--timeline`: finds the handovers that the server recorded during the run, and puts them on the run's axis of time.
import {
  listTimelines,
  type RecordedHandover,
  type TimelinePart,
  type TimelineSpan,
} from '../observe/timeline-part.js';
import { criticalPath, hintsFor, type PathSegment, partsOf } from '../observe/timeline-path.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';
import type { Run } from './data.js';

/** A recorded handover. All its times are milliseconds since the start of the run. */
export interface Recorded {
  readonly handoverId: string;
  /** Index of its switch in the run; undefined where clients saw none. */
  readonly switchIndex: number | undefined;
  /** Milliseconds added to the server's times, so that no effect comes before its cause. */
  readonly shiftMs: number;
  readonly spawnToReadyMs: number | undefined;
  readonly processes: readonly RecordedProcess[];
  readonly path: readonly PathSegment[];
  readonly hints: readonly string[];
}

export interface RecordedProcess {
  readonly role: TimelinePart['role'];
  readonly pid: number;
  readonly generation: number;
  readonly spans: readonly TimelineSpan[];
}

/** Most difference between the clocks of two machines: a recording further off is of another run with the same pid. */
const MOST_SKEW = 600_000;

/** @throws CommandError the directory cannot be read */
export function readRecorded(directory: string, run: Run): Recorded[] {
  const { startedAt, elapsedMs } = run.details;
  const all = readAll(directory);
  const free = new Set(all);
  const bySwitch = run.result.switches.map((_, index) => {
    const one = findFor(index, free, run);
    if (one !== undefined) free.delete(one);
    return one;
  });
  const isWithin = (one: RecordedHandover): boolean =>
    one.startedAt > startedAt - 1_000 && one.startedAt < startedAt + elapsedMs;
  return all
    .filter((one) => bySwitch.includes(one) || isWithin(one))
    .map((one) => align(one, bySwitch.indexOf(one), run));
}

function readAll(directory: string): RecordedHandover[] {
  try {
    return listTimelines(directory);
  } catch (error) {
    throw new CommandError(EXIT.usage, `--timeline ${directory} cannot be read: ${(error as Error).message}`);
  }
}

/** Finds a recording by pid, where processes are identified by it; of several with the same pid the nearest in time. */
function findFor(index: number, all: ReadonlySet<RecordedHandover>, run: Run): RecordedHandover | undefined {
  const found = run.result.switches[index];
  if (found === undefined) return undefined;
  const at = run.details.startedAt + (found.triggeredAtMs ?? found.atMs);
  const distance = (one: RecordedHandover): number => Math.abs(one.startedAt - at);
  const isIt = ({ parts }: RecordedHandover): boolean => {
    const { predecessor, successor } = partsOf(parts);
    const spawned = predecessor?.spans.find(({ name }) => name === 'spawn')?.args?.pid;
    return String(successor?.pid ?? spawned) === found.to;
  };
  const near = [...all].filter((one) => isIt(one) && distance(one) < MOST_SKEW);
  return near.sort((a, b) => distance(a) - distance(b))[0];
}

function align({ handoverId, parts }: RecordedHandover, index: number, run: Run): Recorded {
  const { predecessor, successor } = partsOf(parts);
  const spawn = spanOf(predecessor, 'spawn');
  const start = spanOf(successor, 'start');
  const readyAt = start && start.startedAt + (start.durationMs ?? 0);
  const requestedAt = spanOf(predecessor, 'requested')?.startedAt;
  const shiftMs = shiftOf(requestedAt, readyAt, index, run);
  const origin = run.details.startedAt - shiftMs;
  const moved = <T extends { readonly startedAt: number }>(span: T): T => ({
    ...span,
    startedAt: span.startedAt - origin,
  });
  return {
    handoverId,
    switchIndex: index === -1 ? undefined : index,
    shiftMs,
    spawnToReadyMs: spawn === undefined || readyAt === undefined ? undefined : readyAt - spawn.startedAt,
    processes: parts.map((part) => ({
      role: part.role,
      pid: part.pid,
      generation: part.generation,
      spans: [...beginningOf(part), ...part.spans].map(moved),
    })),
    path: criticalPath(parts).map(moved),
    hints: hintsFor(parts),
  };
}

/**
 * The smallest shift that makes the server's times possible, because the clocks of two machines differ: a handover is requested
 * after its trigger, and the new process answers after it is ready.
 */
function shiftOf(requestedAt: number | undefined, readyAt: number | undefined, index: number, run: Run): number {
  const found = run.result.switches[index];
  if (found === undefined) return 0;
  const { startedAt } = run.details;
  const least =
    found.triggeredAtMs === null || requestedAt === undefined
      ? undefined
      : startedAt + found.triggeredAtMs - requestedAt;
  const most = readyAt === undefined ? undefined : startedAt + found.atMs - readyAt;
  if (most !== undefined && most < 0) return most;
  return least !== undefined && least > 0 ? least : 0;
}

function beginningOf({ role, startedAt, bootstrappedAt, openedAt }: TimelinePart): TimelineSpan[] {
  if (role === 'predecessor') return [];
  const span = (name: string, start: number, end: number): TimelineSpan[] =>
    end > start ? [{ track: 'handover', name, startedAt: start, durationMs: end - start }] : [];
  return [...span('Node starts', startedAt, bootstrappedAt), ...span('modules load', bootstrappedAt, openedAt)];
}

function spanOf(part: TimelinePart | undefined, wanted: string): TimelineSpan | undefined {
  return part?.spans.find(({ track, name }) => track === 'handover' && name === wanted);
}
