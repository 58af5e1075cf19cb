// The critical path of a handover, from the request until the successor is in charge, and hints to make it shorter.
import type { TimelinePart, TimelineRole, TimelineSpan } from './timeline-part.js';

/** One stretch of the critical path. */
export interface PathSegment {
  readonly name: string;
  readonly role: TimelineRole;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly durationMs: number;
}

/** Shorter waits are not worth a change in the app. */
const WORTH_MS = 5;
const WORTH_CACHE_MS = 100;
const WORTH_STANDBY_MS = 200;

interface Parts {
  readonly predecessor: TimelinePart | undefined;
  readonly successor: TimelinePart | undefined;
}

export function partsOf(parts: readonly TimelinePart[]): Parts {
  const find = (role: TimelineRole): TimelinePart | undefined => parts.find((part) => part.role === role);
  return { predecessor: find('predecessor'), successor: find('successor') };
}

/** The stretches, each beginning where the one before ended; leaves out stretches that were not recorded. */
export function criticalPath(parts: readonly TimelinePart[]): PathSegment[] {
  const { predecessor, successor } = partsOf(parts);
  const path: PathSegment[] = [];
  const until = (role: TimelineRole, name: string, end: number | undefined): void => {
    const { startedAt: before = undefined, durationMs = 0 } = path.at(-1) ?? {};
    const start = before === undefined ? requested : before + durationMs;
    if (end !== undefined && end > start) path.push({ name, role, startedAt: start, durationMs: end - start });
  };
  const requested = momentOf(predecessor, 'requested') ?? successor?.startedAt ?? 0;
  const spawn = spanOf(predecessor, 'spawn');
  until('predecessor', 'checks', spawn?.startedAt);
  until('predecessor', 'spawn', spawn && endOf(spawn));
  if (successor) {
    // A successor that dialled in began before the request: the part before it is left out.
    until('successor', 'Node starts', successor.bootstrappedAt);
    until('successor', 'modules load', successor.openedAt);
    const ready = endOf(spanOf(successor, 'start'));
    for (const step of longestChain(stepsOf(successor).filter((step) => (endOf(step) ?? 0) <= (ready ?? 0)))) {
      until('successor', 'app', step.startedAt);
      until('successor', `step ${step.name}`, endOf(step));
    }
    until('successor', 'app', ready);
  }
  const probation = spanOf(predecessor, 'PROBATION');
  const commit = spanOf(predecessor, 'COMMIT');
  until('predecessor', 'PROBATION', endOf(probation));
  until('predecessor', 'waits for COMMIT', commit?.startedAt);
  until('predecessor', 'COMMIT', endOf(commit));
  return path;
}

/** The steps that the end of the last one waited for, first to last. */
function longestChain(steps: readonly TimelineSpan[]): TimelineSpan[] {
  const chain: TimelineSpan[] = [];
  const ends = (a: TimelineSpan, b: TimelineSpan): number => (endOf(b) ?? 0) - (endOf(a) ?? 0);
  let candidates = [...steps];
  for (;;) {
    const [last] = candidates.sort(ends);
    if (!last) return chain;
    chain.unshift(last);
    const after = afterOf(last);
    const named = steps.filter(({ name }) => after.includes(name));
    // A step without `after` began late because the app began it when another step had ended.
    const before = steps.filter((step) => step !== last && (endOf(step) ?? 0) <= last.startedAt);
    candidates = named.length > 0 ? named : before;
  }
}

/** Advice, in words, that would make the next handover quicker. */
export function hintsFor(parts: readonly TimelinePart[]): string[] {
  const { predecessor, successor } = partsOf(parts);
  const path = criticalPath(parts);
  const hints = successor ? stepsOf(successor).flatMap((step) => seriesHint(step, stepsOf(successor))) : [];
  const load = path.find(({ name }) => name === 'modules load')?.durationMs ?? 0;
  if (successor && !successor.hasCompileCache && load >= WORTH_CACHE_MS) {
    const advice = 'NODE_COMPILE_CACHE=<directory> keeps them compiled (Node 22.1 and newer)';
    hints.push(`${Math.round(load)} ms went into loading modules: ${advice}`);
  }
  const total = path.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const start = path.filter(({ role, name }) => role === 'successor' || name === 'spawn' || name === 'checks');
  const startMs = start.reduce((sum, { durationMs }) => sum + durationMs, 0);
  // Even without a standby a moment passes between READY and COMMIT.
  const isStandby = path.some(({ name, durationMs }) => name === 'waits for COMMIT' && durationMs >= WORTH_MS);
  if (predecessor && successor && !isStandby && startMs >= WORTH_STANDBY_MS && startMs > total / 2) {
    const advice = 'a standby (`prepare()`, then `commit()`) starts before the switch';
    hints.push(`${Math.round(startMs)} of ${Math.round(total)} ms were the start of the process: ${advice}`);
  }
  return hints;
}

/** A hint where the step neither had to wait for the step before it nor ran beside it. */
function seriesHint(step: TimelineSpan, steps: readonly TimelineSpan[]): string[] {
  const awaited = allBefore(step, steps);
  const ended = steps.filter((other) => other !== step && (endOf(other) ?? Infinity) <= step.startedAt);
  const [previous] = ended.sort((a, b) => (endOf(b) ?? 0) - (endOf(a) ?? 0));
  if (!previous || awaited.has(previous.name) || step.name.startsWith('handover:')) return [];
  const saved = Math.min(previous.durationMs ?? 0, step.durationMs ?? 0);
  if (saved < WORTH_MS) return [];
  const what = `step "${step.name}" ran after "${previous.name}", which it does not wait for`;
  return [`${what}: declare both before awaiting either, and save up to ${Math.round(saved)} ms`];
}

/** All steps that it waits for, also indirectly. */
function allBefore(step: TimelineSpan, steps: readonly TimelineSpan[]): Set<string> {
  const names = new Set(afterOf(step));
  // A Set visits what is added during the walk.
  for (const name of names) {
    const other = steps.find((candidate) => candidate.name === name);
    for (const before of other ? afterOf(other) : []) names.add(before);
  }
  return names;
}

function afterOf({ args }: TimelineSpan): readonly string[] {
  return (args?.after ?? []) as readonly string[];
}

export function stepsOf({ spans }: TimelinePart): TimelineSpan[] {
  return spans.filter(({ track }) => track === 'steps');
}

function spanOf(part: TimelinePart | undefined, wanted: string): TimelineSpan | undefined {
  return part?.spans.find(({ track, name }) => track === 'handover' && name === wanted);
}

function momentOf(part: TimelinePart | undefined, name: string): number | undefined {
  return spanOf(part, name)?.startedAt;
}

function endOf(span: TimelineSpan | undefined): number | undefined {
  return span && span.startedAt + (span.durationMs ?? 0);
}
