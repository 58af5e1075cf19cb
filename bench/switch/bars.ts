// What this package wants of itself, and whether a run shows it.
import { bootstrapInterval, type Interval, median } from '../lib/stats.js';
import { figure } from '../lib/table.js';
import type { Turn } from './turn.js';

export interface Bar {
  readonly bar: string;
  readonly measured: string;
  readonly isReached: boolean;
}

/** More than a bare start: whichever is more. */
const START_RATIO = 1.15;
const START_MORE = 20;
const STANDBY_ANSWER = 10;
const P99_RATIO = 1.5;

export function nothingLost(name: string, turns: readonly Turn[]): Bar {
  const sum = (of: 'lost' | 'closed'): number => turns.reduce((total, { figures }) => total + figures[of], 0);
  const [lost, closed] = [sum('lost'), sum('closed')];
  return {
    bar: `${name}: 0 lost, 0 closed`,
    measured: `${lost} lost, ${closed} closed in ${turns.length} switches`,
    isReached: lost === 0 && closed === 0,
  };
}

/** From the start of a process until it accepts, or until it has accepted its first connection; ms. */
export function startTimes(turns: readonly Turn[], until: 'accepting' | 'accepted' = 'accepting'): number[] {
  return turns.map(({ marks }) => Number((marks[until] ?? 0n) - (marks.spawn ?? 0n)) / 1e6);
}

export function startsLikeBare(name: string, turns: readonly Turn[], bare: readonly Turn[]): Bar {
  const [ours, theirs] = [startTimes(turns), startTimes(bare)];
  const allowed = Math.max(median(theirs) * START_RATIO, median(theirs) + START_MORE);
  const ratio = bootstrapInterval(ours.map((time, round) => time / (theirs[round] ?? Number.NaN)));
  return {
    bar: `${name}: spawn to accepting at most 15 % or ${START_MORE} ms over a bare cold start`,
    measured: `${figure(median(ours))} ms, bare ${figure(median(theirs))} ms; ratio ${interval(ratio)}; first connection after ${figure(median(startTimes(turns, 'accepted')))} ms, bare ${figure(median(startTimes(bare, 'accepted')))} ms`,
    isReached: median(ours) <= allowed,
  };
}

export function answersAtOnce(name: string, turns: readonly Turn[]): Bar {
  const times = turns.map(({ commitToAnswer = Number.NaN }) => commitToAnswer);
  const middle = bootstrapInterval(times);
  return {
    bar: `${name}: first answer within ${STANDBY_ANSWER} ms of commit`,
    measured: `${interval(middle)} ms, at most ${figure(Math.max(...times))}`,
    isReached: middle.median <= STANDBY_ANSWER,
  };
}

/** Reached where even the upper bound is within it. */
export function staysFast(name: string, turns: readonly Turn[]): Bar {
  const ratio = bootstrapInterval(turns.map(({ figures: { inside, outside } }) => inside.p99 / outside.p99));
  return {
    bar: `${name}: p99 inside the switch at most ${P99_RATIO} times that outside`,
    measured: interval(ratio),
    isReached: ratio.high <= P99_RATIO,
  };
}

export function presentBar({ bar, measured, isReached }: Bar): string {
  return `bar: ${bar}: ${measured}: ${isReached ? 'reached' : 'missed'}`;
}

function interval({ median: middle, low, high }: Interval): string {
  return `${figure(middle)} (95 %: ${figure(low)} to ${figure(high)})`;
}
