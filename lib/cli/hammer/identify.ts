// Tells the processes behind one address apart by what they answer, and finds the switches from one to the next.
import type { ResponseReader } from './response.js';

export type IdentifyBy =
  | { readonly by: 'header'; readonly name: string }
  /** Source of a regular expression; its first group, or all of the match. */
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
  /** The first whole, right answer of the new process. */
  readonly atMs: number;
  /** The oldest trigger before it that no switch had answered yet, else the last one; null where there was none. */
  readonly triggeredAtMs: number | null;
  readonly triggerToFirstAnswerMs: number | null;
  /** How long both answered; negative: how long neither did. */
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

/** Adds up what several threads saw, or one thread in several ticks. */
export function addSighting(known: Map<string, Sighting>, { id, answers, firstAt, lastAt }: Sighting): void {
  const before = known.get(id);
  known.set(id, {
    id,
    answers: answers + (before?.answers ?? 0),
    firstAt: Math.min(firstAt, before?.firstAt ?? Number.POSITIVE_INFINITY),
    lastAt: Math.max(lastAt, before?.lastAt ?? 0),
  });
}

/** Several processes may share the address from the start: who answers so soon after the first one replaces nobody. */
const FIRST_SET_WINDOW = 300;

/**
 * The switches of a run: each process that first answers after the first set (or after a trigger) has replaced one,
 * the one of those before it which stopped answering first and was not replaced yet.
 */
export function findSwitches(sightings: Iterable<Sighting>, triggers: readonly number[]): Switch[] {
  const inOrder = [...sightings].sort((a, b) => a.firstAt - b.firstAt);
  const start = inOrder[0]?.firstAt ?? 0;
  const firstTrigger = triggers[0] ?? Number.POSITIVE_INFINITY;
  const current: Sighting[] = [];
  const switches: Switch[] = [];
  let answered = 0;
  for (const next of inOrder) {
    if (next === inOrder[0] || (next.firstAt - start < FIRST_SET_WINDOW && next.firstAt < firstTrigger)) {
      current.push(next);
      continue;
    }
    current.sort((a, b) => a.lastAt - b.lastAt);
    const [replaced] = current.splice(0, 1, next);
    if (replaced === undefined) continue;
    // One trigger may replace several processes, but a switch answers one trigger: the one that has waited longest.
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
