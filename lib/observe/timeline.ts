// The parts of both processes as one trace in the format of Chrome's tracing, which Perfetto opens:
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
import type { TimelinePart, TimelineSpan, TimelineTrack } from './timeline-part.js';
import { listTimelines } from './timeline-part.js';
import { criticalPath, hintsFor, type PathSegment, partsOf } from './timeline-path.js';

/** One event of a trace; times are microseconds since its first one. */
export interface TraceEvent {
  readonly name: string;
  /** `X` a stretch, `i` a moment, `s` and `f` the ends of an arrow, `M` the name of a process or thread. */
  readonly ph: 'X' | 'i' | 's' | 'f' | 'M';
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: number;
  /** Scope of a moment: its thread. */
  readonly s?: 't';
  /** Binds the end of an arrow to the stretch around it, not to the next one. */
  readonly bp?: 'e';
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A trace, to be written as JSON and opened in https://ui.perfetto.dev or chrome://tracing. */
export interface Trace {
  readonly displayTimeUnit: 'ms';
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: {
    readonly handoverId: string;
    /** Time 0 of the trace, in milliseconds since the epoch. */
    readonly startedAt: number;
    readonly criticalPath: readonly PathSegment[];
    readonly hints: readonly string[];
  };
}

const CRITICAL_PATH_TID = 1;
/** First thread of each track; spans that overlap get the next. */
const TID: Readonly<Record<TimelineTrack, number>> = { handover: 10, frames: 20, steps: 30, connections: 60, gc: 90 };

/**
 * The trace of a handover recorded by `timeline: { directory }`: the last one, or the one named.
 * @throws RangeError there is none; the error of readdir(3)
 * @example
 * ```ts
 * import { writeFileSync } from 'node:fs';
 * import { joinTimeline } from 'handover/timeline';
 * writeFileSync('trace.json', JSON.stringify(joinTimeline('timelines')));
 * ```
 */
export function joinTimeline(directory: string, handoverId?: string): Trace {
  const recorded = listTimelines(directory);
  const found = handoverId === undefined ? recorded.at(-1) : recorded.find((one) => one.handoverId === handoverId);
  if (!found) throw new RangeError(`${directory} holds no part of a handover${handoverId ? ` ${handoverId}` : ''}`);
  return toTrace(found.parts);
}

/** The trace of one handover, from the parts of both processes or of one. */
export function toTrace(parts: readonly TimelinePart[]): Trace {
  const path = criticalPath(parts);
  const drawn = parts.map((part) => ({ part, spans: [...startOf(part), ...part.spans] }));
  const startedAt = Math.min(...drawn.flatMap(({ spans }) => spans.map((span) => span.startedAt)));
  const micros = (time: number): number => Math.round((time - startedAt) * 1_000);
  const pidOf = pidsOf(parts);
  const events = drawn.flatMap(({ part, spans }) => draw(part, spans, pidOf(part), micros, path));
  const { predecessor, successor } = partsOf(parts);
  const owner = predecessor ?? successor;
  return {
    displayTimeUnit: 'ms',
    traceEvents: [
      ...events,
      ...(owner ? drawPath(path, pidOf(owner), micros) : []),
      ...(predecessor && successor ? drawArrows(events, pidOf(predecessor), pidOf(successor)) : []),
    ],
    otherData: { handoverId: owner?.handoverId ?? '', startedAt, criticalPath: path, hints: hintsFor(parts) },
  };
}

/** Processes in two containers may have the same pid: the successor then gets another one in the trace. */
function pidsOf(parts: readonly TimelinePart[]): (part: TimelinePart) => number {
  const { predecessor, successor } = partsOf(parts);
  const isSame = predecessor?.pid === successor?.pid;
  return ({ role, pid }) => (isSame && role === 'successor' ? pid + 1 : pid);
}

/** Spans for the start of the successor's process, which the predecessor started, or which dialled in. */
function startOf({ role, startedAt, bootstrappedAt, openedAt }: TimelinePart): TimelineSpan[] {
  if (role === 'predecessor') return [];
  const span = (name: string, start: number, end: number): TimelineSpan[] =>
    end > start ? [{ track: 'handover', name, startedAt: start, durationMs: end - start }] : [];
  return [...span('Node starts', startedAt, bootstrappedAt), ...span('modules load', bootstrappedAt, openedAt)];
}

function draw(
  part: TimelinePart,
  spans: readonly TimelineSpan[],
  pid: number,
  micros: (time: number) => number,
  path: readonly PathSegment[],
): TraceEvent[] {
  const { role, generation } = part;
  const names = new Map<number, string>();
  const lanes = new Map<number, number>();
  const isCritical = ({ track, name }: TimelineSpan): boolean =>
    path.some((segment) => segment.role === role && segment.name === (track === 'steps' ? `step ${name}` : name));
  const events = [...spans]
    .sort((a, b) => a.startedAt - b.startedAt)
    .map((span): TraceEvent => {
      const { track, name, durationMs, args } = span;
      const ts = micros(span.startedAt);
      const end = durationMs === undefined ? ts : micros(span.startedAt + durationMs);
      const tid = laneFor(TID[track], track === 'steps' || track === 'connections', ts, end, lanes);
      names.set(tid, track);
      const common = { name, cat: track, pid, tid, ts, args: { ...args, ...(isCritical(span) && { critical: true }) } };
      return durationMs === undefined ? { ...common, ph: 'i', s: 't' } : { ...common, ph: 'X', dur: end - ts };
    });
  const title = `generation ${generation} (${role}, pid ${part.pid}, Node ${part.node})`;
  const named = [...names].map(([tid, name]) => metadata('thread_name', pid, tid, { name }));
  return [metadata('process_name', pid, 0, { name: title }), ...named, ...events];
}

/** The format needs the stretches of one thread nested or apart: stretches that overlap get a thread each. */
function laneFor(first: number, isSplit: boolean, start: number, end: number, lanes: Map<number, number>): number {
  if (!isSplit) return first;
  for (let tid = first; ; tid++) {
    if ((lanes.get(tid) ?? -1) > start) continue;
    lanes.set(tid, end);
    return tid;
  }
}

function drawPath(path: readonly PathSegment[], pid: number, micros: (time: number) => number): TraceEvent[] {
  const tid = CRITICAL_PATH_TID;
  const stretches = path.map(({ name, role, startedAt, durationMs }): TraceEvent => {
    const ts = micros(startedAt);
    const dur = micros(startedAt + durationMs) - ts;
    return { name, ph: 'X', cat: 'critical path', pid, tid, ts, dur, args: { role, critical: true } };
  });
  return [metadata('thread_name', pid, tid, { name: 'critical path' }), ...stretches];
}

/** Arrows from the end of a stretch to the beginning, or the end, of one in the other process. */
function drawArrows(events: readonly TraceEvent[], old: number, young: number): TraceEvent[] {
  const find = (pid: number, name: string): TraceEvent | undefined =>
    events.find((event) => event.ph === 'X' && event.cat === 'handover' && event.pid === pid && event.name === name);
  const starts = [find(old, 'spawn'), find(young, 'start'), find(old, 'COMMIT'), find(young, 'take charge')];
  const ends = [
    find(young, 'Node starts'),
    find(old, 'PROBATION') ?? find(old, 'COMMIT'),
    find(young, 'take charge'),
    find(old, 'MIGRATE'),
  ];
  // The arrow of COMMIT leaves when its stretch begins, the others at the end of theirs.
  const at = [1, 1, 0, 1];
  return starts.flatMap((from, id): TraceEvent[] => {
    const to = ends[id];
    if (!from || !to) return [];
    const arrow = { name: 'handover', cat: 'handover', id: id + 1 } as const;
    // Inside of the stretch: its end does not belong to it.
    const leaves = from.ts + (at[id] ? Math.max(0, (from.dur ?? 0) - 1) : 0);
    const arrives = Math.max(to.ts, leaves);
    return [
      { ...arrow, ph: 's', pid: from.pid, tid: from.tid, ts: leaves },
      { ...arrow, ph: 'f', bp: 'e', pid: to.pid, tid: to.tid, ts: arrives },
    ];
  });
}

function metadata(name: string, pid: number, tid: number, args: TraceEvent['args'] = {}): TraceEvent {
  return { name, ph: 'M', pid, tid, ts: 0, args };
}
