// Identifies the processes behind one address by their answers, and finds the switches from one to the next.
import type { ResponseReader } from './response.js';

export type IdentifyBy =
  | { readonly by: 'header'; readonly name: string }
  /** Source of a regular expression; the identity is its first group, or the whole match. */
  | { readonly by: 'body'; readonly pattern: string };

/** When a process answered; milliseconds since the start of the run. */
export interface Sighting {
  readonly id: string;
  readonly answers: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

export interface Switch {
  readonly from: string;
  readonly to: string;
  /** Time of the first complete, expected answer of the new process. */
  readonly atMs: number;
  /** The oldest trigger before it that no earlier switch answered, else the last one; null without any. */
  readonly triggeredAtMs: number | null;
  readonly triggerToFirstAnswerMs: number | null;
  /** How long both processes answered; negative: how long neither did. */
  readonly overlapMs: number;
}

/** Reads the identity out of answers. */
export class Identifier {
  readonly #by: IdentifyBy;
  readonly #pattern: RegExp | undefined;

  constructor(by: IdentifyBy) {
    this.#by = by;
    this.#pattern = by.by === 'body' ? new RegExp(by.pattern) : undefined;
  }

  get needsBody(): boolean {
    return this.#by.by === 'body';
  }

  inResponse(reader: ResponseReader): string | undefined {
    return this.#by.by === 'header' ? reader.head.fields.get(this.#by.name) : this.inBody(reader.body());
  }

  inBody(body: Buffer): string | undefined {
    const match = this.#pattern?.exec(body.toString());
    return match?.[1] ?? match?.[0];
  }
}

/** Merges the sightings of several threads, or of several ticks. */
export function addSighting(known: Map<string, Sighting>, { id, answers, firstAt, lastAt }: Sighting): void {
  const before = known.get(id);
  known.set(id, {
    id,
    answers: answers + (before?.answers ?? 0),
    firstAt: Math.min(firstAt, before?.firstAt ?? Number.POSITIVE_INFINITY),
    lastAt: Math.max(lastAt, before?.lastAt ?? 0),
  });
}

/** Processes may share the address from the start: one that first answers within this time of the first replaces none. */
const FIRST_SET_WINDOW = 300;
/** Without a trigger: a process that answers within this time of the end of the run was not replaced by a younger one. */
const LAST_PART = 1_000;

/**
 * The switches of a run that ended at `end`. Each process that first answers after the first set has replaced one process: of
 * the earlier ones not replaced yet, the one that stopped answering first. With triggers the first set is all processes that
 * answer before the first trigger.
 */
export function findSwitches(sightings: Iterable<Sighting>, triggers: readonly number[], end: number): Switch[] {
  const inOrder = [...sightings].sort((a, b) => a.firstAt - b.firstAt);
  const firstSetEnd = triggers[0] ?? (inOrder[0]?.firstAt ?? 0) + FIRST_SET_WINDOW;
  const stays = (one: Sighting, next: Sighting): boolean =>
    triggers.length === 0 && one.lastAt > Math.max(end - LAST_PART, next.firstAt);
  const current: Sighting[] = [];
  const switches: Switch[] = [];
  let answered = 0;
  for (const next of inOrder) {
    current.sort((a, b) => a.lastAt - b.lastAt);
    const [replaced] = current;
    if (replaced === undefined || next.firstAt < firstSetEnd || stays(replaced, next)) {
      current.push(next);
      continue;
    }
    current[0] = next;
    // One trigger may replace several processes, but a switch answers one trigger: the one that waited longest.
    const isOpen = (triggers[answered] ?? Number.POSITIVE_INFINITY) <= next.firstAt;
    if (isOpen) answered++;
    switches.push(describe(replaced, next, triggers[answered - 1]));
  }
  return switches;
}

function describe(from: Sighting, to: Sighting, triggeredAt: number | undefined): Switch {
  return {
    from: from.id,
    to: to.id,
    atMs: round(to.firstAt),
    triggeredAtMs: triggeredAt === undefined ? null : round(triggeredAt),
    triggerToFirstAnswerMs: triggeredAt === undefined ? null : round(to.firstAt - triggeredAt),
    overlapMs: round(from.lastAt - to.firstAt),
  };
}

function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
