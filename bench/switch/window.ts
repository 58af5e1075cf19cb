// What one switch cost, out of every answer and every loss: split into what the switch may have touched and what not.
import { percentile } from '../lib/stats.js';
import type { Recording } from './load.js';

/**
 * *Inside the switch* is from the trigger until the later of two has come, the first answer of the new process and the end of
 * the old one, and so much longer: a new process is still cold then, and clients come back. A request counts as inside when any
 * part of its life is. Milliseconds.
 */
export const FOLLOW_UP = 250;
/** The load needs so long to make its connections; answers before that belong to neither side. */
export const SETTLING = 250;

export interface Moments {
  readonly triggeredAt: number;
  readonly answeredAt: number;
  /** The last of the old processes was gone; undefined where no process ends. */
  readonly goneAt: number | undefined;
}

export interface Latency {
  readonly answers: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export type LostBy = Readonly<Record<string, number>>;

/** One switch. */
export interface SwitchFigures {
  readonly answered: number;
  readonly lost: number;
  readonly lostBy: LostBy;
  /** Kept connections the server ended. */
  readonly closed: number;
  readonly inside: Latency;
  readonly outside: Latency;
  readonly triggerToAnswer: number;
  readonly triggerToGone: number | undefined;
  /** Without any right answer, inside the switch. */
  readonly longestGap: number;
  /** Requests a second over the whole turn. */
  readonly rate: number;
}

/** Where the switch ends. */
export function endOf({ answeredAt, goneAt = answeredAt }: Moments): number {
  return Math.max(answeredAt, goneAt) + FOLLOW_UP;
}

export function figuresOf(recording: Recording, moments: Moments): SwitchFigures {
  const { at, latency, losses, counts } = recording;
  const { triggeredAt, answeredAt, goneAt } = moments;
  const end = endOf(moments);
  const inside: number[] = [];
  const outside: number[] = [];
  let last = triggeredAt;
  let longestGap = 0;
  for (const [index, whole] of at.entries()) {
    const took = latency[index] ?? Number.NaN;
    const begun = whole - took;
    if (whole >= triggeredAt && begun <= end) inside.push(took);
    else if (begun >= SETTLING) outside.push(took);
    if (whole < triggeredAt || whole > end) continue;
    longestGap = Math.max(longestGap, whole - last);
    last = whole;
  }
  const lostBy: Record<string, number> = {};
  for (const { kind } of losses) lostBy[kind] = (lostBy[kind] ?? 0) + 1;
  const lasted = Math.max(at.at(-1) ?? 0, end);
  return {
    answered: at.length,
    lost: losses.length,
    lostBy,
    closed: counts.closedByServer,
    inside: latencyOf(inside),
    outside: latencyOf(outside),
    triggerToAnswer: answeredAt - triggeredAt,
    triggerToGone: goneAt === undefined ? undefined : goneAt - triggeredAt,
    longestGap: Math.max(longestGap, end - last),
    rate: ((at.length + losses.length) / lasted) * 1_000,
  };
}

function latencyOf(latencies: readonly number[]): Latency {
  const sorted = Float64Array.from(latencies).sort();
  return {
    answers: sorted.length,
    p50: percentile(sorted, 50),
    p99: percentile(sorted, 99),
    max: sorted.at(-1) ?? Number.NaN,
  };
}

export const RESTARTS = 247;
const DAYS = 30;

export interface Availability {
  /** Requests lost in all of them. */
  readonly lost: number;
  /** Of all requests of that time, answered; 1 is all. */
  readonly availability: number;
}

/** What so many switches in 30 days make of a server that is asked at the rate of the load all the time. */
export function availabilityOf(lostPerSwitch: number, rate: number): Availability {
  const lost = RESTARTS * lostPerSwitch;
  return { lost, availability: 1 - lost / (rate * DAYS * 86_400) };
}
