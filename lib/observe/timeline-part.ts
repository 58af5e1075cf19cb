// What one process writes down of one handover, and where: a file for each of the two, found by the handover's id.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../fd/safe-files.js';

export type TimelineRole = 'predecessor' | 'successor';
export type TimelineTrack = 'handover' | 'steps' | 'connections' | 'gc' | 'frames';

/** Something that took its time, or happened at one. All times are milliseconds since the epoch. */
export interface TimelineSpan {
  readonly track: TimelineTrack;
  readonly name: string;
  readonly startedAt: number;
  /** Absent: a moment. */
  readonly durationMs?: number | undefined;
  readonly args?: Readonly<Record<string, unknown>> | undefined;
}

/** One process' part of a handover. */
export interface TimelinePart {
  readonly version: 1;
  readonly handoverId: string;
  readonly role: TimelineRole;
  readonly pid: number;
  readonly generation: number;
  readonly node: string;
  /** When the process began, when Node was ready to run code of the app, and when that opened its handover. */
  readonly startedAt: number;
  readonly bootstrappedAt: number;
  readonly openedAt: number;
  /** Whether modules were compiled with a cache. */
  readonly hasCompileCache: boolean;
  readonly spans: readonly TimelineSpan[];
  /** Spans that were too many to keep. */
  readonly dropped: number;
}

const FILE = /^([\w-]+)\.(predecessor|successor)\.json$/;

/** Whole or not at all: somebody may read it at any time. @throws what the system says; nothing is left of the attempt */
export function writePart(directory: string, part: TimelinePart): void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${part.handoverId}.${part.role}.json`);
  const temporary = `${file}.${part.pid}.tmp`;
  replaceFile(file, temporary, JSON.stringify(part));
}

/** A handover that has been recorded. */
export interface RecordedHandover {
  readonly handoverId: string;
  /** When it was first heard of. */
  readonly startedAt: number;
  readonly parts: readonly TimelinePart[];
}

/**
 * The handovers recorded in a directory, oldest first. A file that holds no part, as after a crash, is passed over.
 * @throws what readdir(3) says of the directory
 */
export function listTimelines(directory: string): RecordedHandover[] {
  const parts = new Map<string, TimelinePart[]>();
  for (const name of readdirSync(directory).sort()) {
    const [, id] = FILE.exec(name) ?? [];
    if (id === undefined) continue;
    const part = readPart(join(directory, name));
    if (part) parts.set(id, [...(parts.get(id) ?? []), part]);
  }
  return [...parts]
    .map(([handoverId, both]) => ({ handoverId, startedAt: Math.min(...both.map(beginOf)), parts: both }))
    .sort((a, b) => a.startedAt - b.startedAt);
}

function readPart(file: string): TimelinePart | undefined {
  try {
    const part = JSON.parse(readFileSync(file, 'utf8')) as TimelinePart | null;
    return Array.isArray(part?.spans) ? part : undefined;
  } catch {
    return undefined;
  }
}

/** A predecessor may have served for weeks before. */
function beginOf({ role, startedAt, spans }: TimelinePart): number {
  return role === 'successor' ? startedAt : Math.min(...spans.map((span) => span.startedAt));
}
