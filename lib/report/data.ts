// A run as `handover hammer --json` prints it, line by line: ticks, the details, the result. Read from a file or kept in memory.
import { readFileSync } from 'node:fs';
import type { Distribution } from '../hammer/distribution.js';
import type { Sighting } from '../hammer/identify.js';
import type { HammerResult } from '../hammer/result.js';
import type { Fate } from '../hammer/tally.js';
import { integer, list, optional, record, type Schema, string } from '../protocol/schema.js';
import { CommandError, EXIT } from '../terminal/exit-codes.js';

/** The data of a report. */
export interface Run {
  readonly ticks: readonly Tick[];
  readonly details: Details;
  readonly result: Result;
}

type Counts = Readonly<Record<string, number>>;

/** The counts since the tick before. */
export interface Tick {
  readonly atMs: number;
  /** Time that its counts cover: each thread reports ten times a second, at times of its own. */
  readonly coversMs: number;
  readonly ok: number;
  readonly lost: number;
  readonly lostBy: Counts;
  readonly opened: number;
  readonly closed: number;
  readonly closedByServer: number;
  readonly reconnects: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly latencyCounts: Distribution;
  readonly answersBy: Counts;
}

/** Details that are not in the result; see detailsOf in hammer/result.ts. */
export interface Details {
  readonly url: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly mix: Counts;
  readonly loop: string;
  readonly rate: number | null;
  readonly elapsedMs: number;
  readonly requestsPerSecond: number;
  readonly latencyMs: { readonly mean: number; readonly p90: number; readonly 'p99.9': number };
  readonly reconnectsForced: number;
  /** Requests that were due and never sent; missing in runs of older versions. */
  readonly notSent?: number | undefined;
  readonly identities: readonly Sighting[];
  readonly triggers: readonly { readonly atMs: number; readonly error?: string | undefined }[];
  readonly switchGapsMs: readonly number[];
  readonly fates: readonly Fate[];
  readonly kernel: Counts;
  readonly losses: readonly { readonly kind: string; readonly detail: string; readonly atMs: number }[];
}

export type Result = Pick<
  HammerResult,
  'requests' | 'lostBy' | 'connections' | 'latencyMs' | 'longestGapMs' | 'switches' | 'ledger'
>;

const number: Schema<number> = (value, where) => {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new Error(`${where} is not a number`);
};

function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return (value, where) => (value === null ? null : schema(value, where));
}

function map<T>(schema: Schema<T>): Schema<Readonly<Record<string, T>>> {
  return (value, where) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new Error(`${where} is not an object`);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, schema(item, `${where}.${key}`)]));
  };
}

const tick: Schema<Tick> = record({
  atMs: number,
  coversMs: number,
  ok: integer,
  lost: integer,
  lostBy: map(integer),
  opened: integer,
  closed: integer,
  closedByServer: integer,
  reconnects: integer,
  latencyMs: record({ p50: number, p99: number, max: number }),
  latencyCounts: map(integer),
  answersBy: map(integer),
});

const details: Schema<Details> = record({
  url: string,
  startedAt: number,
  mix: map(integer),
  loop: string,
  rate: nullable(number),
  elapsedMs: number,
  requestsPerSecond: number,
  latencyMs: record({ mean: number, p90: number, 'p99.9': number }),
  reconnectsForced: integer,
  notSent: optional(integer),
  identities: list(record({ id: string, answers: integer, firstAt: number, lastAt: number })),
  triggers: list(record({ atMs: number, error: optional(string) })),
  switchGapsMs: list(number),
  fates: list(record({ from: string, to: nullable(string), connections: integer })),
  kernel: map(number),
  losses: list(record({ kind: string, detail: string, atMs: number })),
});

const result: Schema<Result> = record({
  requests: record({ ok: integer, lost: integer }),
  lostBy: map(integer),
  connections: record({ opened: integer, closedByServer: integer }),
  latencyMs: record({ p50: number, p99: number, max: number }),
  longestGapMs: number,
  switches: list(
    record({
      from: string,
      to: string,
      atMs: number,
      triggeredAtMs: nullable(number),
      triggerToFirstAnswerMs: nullable(number),
      overlapMs: number,
    }),
  ),
  ledger: optional(
    record({ executedTwice: integer, executedUnanswered: integer, gaps: integer, begunNotEnded: integer }),
  ),
}) as unknown as Schema<Result>;

/** Reads a run from a file. @throws CommandError naming the file, the line and the expectation */
export function readRun(path: string): Run {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new CommandError(EXIT.usage, `${path} cannot be read: ${(error as Error).message}`);
  }
  return parseRun(text.split('\n'), path);
}

/** As {@link readRun}, from lines. */
export function parseRun(lines: readonly string[], path: string): Run {
  const ticks: Tick[] = [];
  let found: Details | undefined;
  let last: Result | undefined;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const where = `${path}:${index + 1}`;
    if (last !== undefined) throw malformed(where, 'there is a line behind the result, which is the last of a run');
    const value = parseLine(line, where);
    try {
      if (value.type === 'tick') ticks.push(tick(value, 'tick'));
      else if (value.type === 'details') found = details(value, 'details');
      else if (value.type === undefined) last = result(value, 'result');
      else if (value.type !== 'report')
        throw new Error(`a line of type ${JSON.stringify(value.type)} is none of a run`);
    } catch (error) {
      throw malformed(where, (error as Error).message);
    }
  }
  if (found !== undefined && last !== undefined) return { ticks, details: found, result: last };
  const missing = found === undefined ? 'a line {"type":"details"}' : 'the result as the last line';
  throw malformed(`${path}:${lines.length}`, `the file ends without ${missing}`);
}

function parseLine(line: string, where: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(line) as unknown;
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>;
  } catch {
    // Reported below, as is JSON that is no object.
  }
  throw malformed(where, `no object of JSON: ${line.slice(0, 60)}`);
}

function malformed(where: string, what: string): CommandError {
  const expected = 'expected what `handover hammer --json` prints: ticks, details, and the result as the last line';
  return new CommandError(EXIT.usage, `${where}: ${what}; ${expected}`);
}

/** Lost requests, and all that were due: a request that was never sent counts as lost. */
export function lossOf({ result: { requests }, details: { notSent = 0 } }: Run): {
  readonly lost: number;
  readonly all: number;
} {
  const lost = requests.lost + notSent;
  return { lost, all: requests.ok + lost };
}

/** Milliseconds from the start of the run to the end of each tick, by the time that its counts cover. */
export function tickEnds(ticks: readonly Tick[]): number[] {
  let end = 0;
  return ticks.map(({ coversMs }) => {
    end += coversMs;
    return end;
  });
}
