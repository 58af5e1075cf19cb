// Records this process' part of each handover from the diagnostics channels, and writes it to a file.
import module from 'node:module';
import { type PerformanceEntry, PerformanceObserver, performance } from 'node:perf_hooks';
import type { HandoverEvents } from '../events.js';
import { publish } from '../events.js';
import { Observer } from './observer.js';
import {
  type TimelinePart,
  type TimelineRole,
  type TimelineSpan,
  type TimelineTrack,
  writePart,
} from './timeline-part.js';

/** Limit on garbage collections and frames: a drain may take hours, with both all the time. Other spans are few. */
const MAX_FREQUENT = 20_000;

/** Milliseconds that the two clocks may differ by rounding. */
const CLOCK_STEP = 2;

const GC_KINDS: Readonly<Record<number, string>> = {
  1: 'scavenge',
  2: 'minor',
  4: 'major',
  8: 'incremental',
  16: 'weak callbacks',
};

/** One handover, as this process sees it. */
class Recording {
  readonly role: TimelineRole;
  handoverId: string | undefined;
  generation = 0;
  /** Only the end of this process is still to be recorded. */
  isOver = false;
  /** Only of a start: this process is in charge; its predecessor has died. The recording ends when both are true. */
  isInCharge = false;
  isOrphan = false;
  readonly #spans: TimelineSpan[] = [];
  readonly #openedAt: number;
  /** The origin of `performance.now()` by the wall clock as it was when the recording began. */
  readonly #origin = originNow();
  readonly #batches = new Map<number, { at: number; connections: number | undefined; held?: number | undefined }>();
  #open: { readonly name: string; readonly at: number } | undefined;
  #frequent = 0;
  #dropped = 0;

  constructor(role: TimelineRole, openedAt: number) {
    this.role = role;
    this.#openedAt = openedAt;
  }

  add(span: TimelineSpan): void {
    if (span.track !== 'gc' && span.track !== 'frames') this.#spans.push(span);
    else if (this.#frequent++ < MAX_FREQUENT) this.#spans.push(span);
    else this.#dropped += 1;
  }

  moment(track: TimelineTrack, name: string, args?: TimelineSpan['args']): void {
    this.add({ track, name, startedAt: this.#now(), args });
  }

  /** Adds a span that has just ended. */
  took(span: Omit<TimelineSpan, 'startedAt'> & { readonly durationMs: number }): void {
    this.add({ ...span, startedAt: this.#now() - span.durationMs });
  }

  /** Adds a span whose times are of `performance.now()`. */
  measured(span: TimelineSpan): void {
    this.add({ ...span, startedAt: this.#origin + span.startedAt });
  }

  /** Ends the open stretch and begins the next; undefined begins none. */
  enter(name: string | undefined): void {
    const at = this.#now();
    if (this.#open) this.#end(this.#open, at);
    this.#open = name === undefined ? undefined : { name, at };
  }

  frame({ name, direction, batch, connections }: HandoverEvents['frame']): void {
    if (name === 'HEARTBEAT') return;
    if (batch === undefined) this.moment('frames', `${direction === 'sent' ? '→' : '←'} ${name}`);
    else if (name === 'OFFER') this.#batches.set(batch, { at: this.#now(), connections });
    else if (name === 'HELD') this.#onHeld(batch, connections);
    else this.#onBatchEnd(batch, name);
  }

  part(): TimelinePart | undefined {
    const { handoverId, role, generation } = this;
    if (handoverId === undefined) return undefined;
    const spans = this.#open ? [...this.#spans, spanOf(this.#open, this.#now())] : this.#spans;
    const getCacheDirectory = (module as { getCompileCacheDir?: () => string | undefined }).getCompileCacheDir;
    return {
      version: 1,
      handoverId,
      role,
      pid: process.pid,
      generation,
      node: process.version,
      startedAt: this.#origin,
      bootstrappedAt: this.#origin + performance.nodeTiming.bootstrapComplete,
      openedAt: this.#origin + this.#openedAt,
      hasCompileCache: getCacheDirectory?.() !== undefined,
      spans,
      dropped: this.#dropped,
    };
  }

  #end(open: { readonly name: string; readonly at: number }, at: number): void {
    this.add(spanOf(open, at));
  }

  #onHeld(batch: number, connections: number | undefined): void {
    const open = this.#batches.get(batch);
    if (open) open.held = connections;
  }

  #onBatchEnd(batch: number, name: string): void {
    const open = this.#batches.get(batch);
    if (!open) return;
    this.#batches.delete(batch);
    const { at, connections, held } = open;
    const args = { connections, held, end: name };
    this.add({ track: 'connections', name: `batch ${batch}`, startedAt: at, durationMs: this.#now() - at, args });
  }

  #now(): number {
    return this.#origin + performance.now();
  }
}

function spanOf({ name, at }: { readonly name: string; readonly at: number }, end: number): TimelineSpan {
  return { track: 'handover', name, startedAt: at, durationMs: end - at };
}

/** The wall clock may have been set since the process began. If not, `timeOrigin` is the more exact value. */
function originNow(): number {
  const origin = Date.now() - performance.now();
  return Math.abs(origin - performance.timeOrigin) < CLOCK_STEP ? performance.timeOrigin : origin;
}

class Recorder {
  readonly #directory: string;
  readonly #openedAt: number;
  /** The start of this process, and each handover it gives. */
  readonly #recordings = new Set<Recording>();
  readonly #collections = new PerformanceObserver((list) => this.#onCollections(list.getEntries()));
  readonly #observer = new Observer('timeline');

  constructor(directory: string, openedAt: number) {
    this.#directory = directory;
    this.#openedAt = openedAt;
    this.#begin(new Recording('successor', openedAt)).enter('start');
    this.#observer.on('listen', ({ name, origin }) => this.#starting?.moment('handover', `listen ${name}`, { origin }));
    this.#observer.on('step', ({ name, after, durationMs, hasFailed }) => {
      this.#starting?.took({ track: 'steps', name, durationMs, args: { after, hasFailed } });
    });
    this.#observer.on('requested', (requested) => this.#onRequested(requested));
    this.#observer.on('spawn', ({ handoverId, pid, durationMs }) => {
      this.#given(handoverId)?.took({ track: 'handover', name: 'spawn', durationMs, args: { pid } });
    });
    this.#observer.on('phase', ({ handoverId, phase }) => this.#given(handoverId)?.enter(phase));
    this.#observer.on('frame', (frame) => this.#onFrame(frame));
    this.#observer.on('in-charge', ({ handoverId, generation }) => this.#onInCharge(handoverId, generation));
    this.#observer.on('outcome', (outcome) => this.#onOutcome(outcome));
    process.on('exit', this.#onExit);
  }

  readonly stop = (): void => {
    this.#observer.end();
    // A recording that is over still waits for the end of the process.
    for (const recording of this.#recordings) if (!recording.isOver) this.#end(recording);
    this.#collections.disconnect();
    if (this.#recordings.size === 0) process.off('exit', this.#onExit);
  };

  get #starting(): Recording | undefined {
    return [...this.#recordings].find(({ role, isOver }) => role === 'successor' && !isOver);
  }

  #given(handoverId: string): Recording | undefined {
    return [...this.#recordings].find(
      (recording) => recording.role === 'predecessor' && recording.handoverId === handoverId,
    );
  }

  #begin(recording: Recording): Recording {
    if (this.#recordings.size === 0) this.#collections.observe({ entryTypes: ['gc'] });
    this.#recordings.add(recording);
    return recording;
  }

  #end(recording: Recording): void {
    this.#write(recording);
    this.#recordings.delete(recording);
    if (this.#recordings.size === 0) this.#collections.disconnect();
  }

  #onRequested({ handoverId, generation, requester }: HandoverEvents['requested']): void {
    const recording = new Recording('predecessor', this.#openedAt);
    recording.handoverId = handoverId;
    recording.generation = generation;
    recording.moment('handover', 'requested', { ...requester });
    this.#begin(recording);
  }

  #onFrame(frame: HandoverEvents['frame']): void {
    const isGiving = frame.role === 'predecessor';
    const recording = isGiving ? [...this.#recordings].findLast(isOpenGift) : this.#starting;
    if (!recording) return;
    if (!isGiving && frame.handoverId !== undefined) recording.handoverId = frame.handoverId;
    recording.frame(frame);
    if (isGiving) return;
    const { direction, name } = frame;
    if (direction === 'sent' && name === 'READY') recording.enter('ready');
    if (direction === 'received' && name === 'COMMIT') recording.enter('take charge');
    if (direction === 'sent' && name === 'COMMITTED') recording.enter('beside the predecessor');
    if (direction === 'received' && name === 'RETIRE') {
      recording.enter(undefined);
      this.#end(recording);
    }
  }

  #onInCharge(handoverId: string | undefined, generation: number): void {
    const recording = this.#starting;
    if (!recording) return;
    recording.generation = generation;
    recording.isInCharge = true;
    recording.moment('handover', 'in charge');
    // The first process of a chain has no handover to record.
    if (handoverId === undefined) this.#end(recording);
    else if (recording.isOrphan) this.#end(recording);
    // Written in the next turn, after COMMITTED is sent.
    else setImmediate(() => this.#recordings.has(recording) && this.#write(recording));
  }

  #onOutcome({ role, handoverId, result, code }: HandoverEvents['outcome']): void {
    if (role === 'successor') {
      const recording = this.#starting;
      if (result === 'predecessor-lost' && recording?.handoverId === handoverId) this.#onOrphaned(recording);
      return;
    }
    const recording = this.#given(handoverId);
    if (!recording) return;
    recording.moment('handover', result, { code });
    if (result !== 'completed') {
      recording.enter(undefined);
      this.#end(recording);
      return;
    }
    recording.enter('exit');
    recording.isOver = true;
    this.#write(recording);
  }

  /** The dead predecessor will send no RETIRE. */
  #onOrphaned(recording: Recording): void {
    recording.moment('handover', 'predecessor-lost');
    recording.isOrphan = true;
    if (recording.isInCharge) this.#end(recording);
  }

  readonly #onExit = (): void => {
    for (const recording of this.#recordings) {
      if (recording.isOver) recording.moment('handover', 'exit');
      this.#write(recording);
    }
  };

  #onCollections(entries: readonly PerformanceEntry[]): void {
    for (const entry of entries) {
      const { startTime: startedAt, duration: durationMs } = entry;
      const { kind = 0 } = (entry as { detail?: { kind?: number } }).detail ?? {};
      const span = { track: 'gc', name: GC_KINDS[kind] ?? `kind ${kind}`, startedAt, durationMs } as const;
      for (const recording of this.#recordings) recording.measured(span);
    }
  }

  /** Publishes errors: a full disk must not end a process that serves. */
  #write(recording: Recording): void {
    try {
      this.#onCollections(this.#collections.takeRecords());
      const part = recording.part();
      if (part) writePart(this.#directory, part);
    } catch (error) {
      publish('hook-failed', { name: 'timeline', error: error as Error });
    }
  }
}

function isOpenGift({ role, isOver }: Recording): boolean {
  return role === 'predecessor' && !isOver;
}

/**
 * Records until the returned function is called; finished recordings go on to the end of the process. `openedAt`: when the app
 * opened its handover, in milliseconds since the start of the process.
 */
export function recordTimeline(directory: string, openedAt: number): () => void {
  return new Recorder(directory, openedAt).stop;
}
