// One process' record of one handover, and its file. Each of the two processes has a file, named by the handover's id.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../fd/safe-files.js';

export type TimelineRole = 'predecessor' | 'successor';
export type TimelineTrack = 'handover' | 'steps' | 'connections' | 'gc' | 'frames';

/** A stretch of time, or a moment. All times are milliseconds since the epoch. */
export interface TimelineSpan {
  readonly track: TimelineTrack;
  readonly name: string;
  readonly startedAt: number;
  /** Absent for a moment. */
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
  /** When the process began, when Node was ready to run code of the app, and when the app opened its handover. */
  readonly startedAt: number;
  readonly bootstrappedAt: number;
  readonly openedAt: number;
  /** Whether Node had a compile cache. */
  readonly hasCompileCache: boolean;
  readonly spans: readonly TimelineSpan[];
  /** Number of spans dropped beyond the limit. */
  readonly dropped: number;
}

const FILE = /^([\w-]+)\.(predecessor|successor)\.json$/;

/** Writes the file whole or not at all: a reader may come at any time. @throws the system's error; no file is left then */
export function writePart(directory: string, part: TimelinePart): void {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${part.handoverId}.${part.role}.json`);
  const temporary = `${file}.${part.pid}.tmp`;
  replaceFile(file, temporary, JSON.stringify(part));
}

/** A recorded handover. */
export interface RecordedHandover {
  readonly handoverId: string;
  /** The earliest time in its parts. */
  readonly startedAt: number;
  readonly parts: readonly TimelinePart[];
}

/**
 * The handovers recorded in a directory, oldest first. Skips files that hold no part, as after a crash.
 * @throws the error of readdir(3)
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

/** A predecessor begins with its first span, because it may have served for weeks before. */
function beginOf({ role, startedAt, spans }: TimelinePart): number {
  return role === 'successor' ? startedAt : Math.min(...spans.map((span) => span.startedAt));
}
