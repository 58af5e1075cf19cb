// What this package wants of itself, and whether a run shows it.
import type { Expectation } from '../lib/bench.js';
import { verdictOf } from '../lib/expectations.js';
import { bootstrapInterval, median, presentInterval } from '../lib/stats.js';
import { figure } from '../lib/table.js';
import type { Turn } from './turn.js';

/** More than a bare start: whichever is more. */
const START_RATIO = 1.15;
const START_MORE = 20;
const STANDBY_ANSWER = 10;
const P99_RATIO = 1.5;

export function nothingLost(name: string, turns: readonly Turn[]): Expectation {
  const sum = (of: 'lost' | 'closed'): number => turns.reduce((total, { figures }) => total + figures[of], 0);
  const [lost, closed] = [sum('lost'), sum('closed')];
  return {
    name,
    expectation: '0 lost, 0 closed',
    measured: `${lost} lost, ${closed} closed in ${turns.length} switches`,
    reached: lost === 0 && closed === 0,
  };
}

/** From the start of a process until it accepts, or until it has accepted its first connection; ms. */
export function startTimes(turns: readonly Turn[], until: 'accepting' | 'accepted' = 'accepting'): number[] {
  return turns.map(({ marks }) => Number((marks[until] ?? 0n) - (marks.spawn ?? 0n)) / 1e6);
}

export function startsLikeBare(name: string, turns: readonly Turn[], bare: readonly Turn[]): Expectation {
  const [ours, theirs] = [startTimes(turns), startTimes(bare)];
  const allowed = Math.max(median(theirs) * START_RATIO, median(theirs) + START_MORE);
  const ratio = bootstrapInterval(ours.map((time, round) => time / (theirs[round] ?? Number.NaN)));
  return {
    name,
    expectation: `spawn to accepting at most 15 % or ${START_MORE} ms over a bare cold start`,
    measured: `${figure(median(ours))} ms, bare ${figure(median(theirs))} ms; ratio ${presentInterval(ratio, figure)}; first connection after ${figure(median(startTimes(turns, 'accepted')))} ms, bare ${figure(median(startTimes(bare, 'accepted')))} ms`,
    reached: median(ours) <= allowed,
  };
}

export function answersAtOnce(name: string, turns: readonly Turn[]): Expectation {
  const times = turns.map(({ commitToAnswer = Number.NaN }) => commitToAnswer);
  const middle = bootstrapInterval(times);
  return {
    name,
    expectation: `first answer within ${STANDBY_ANSWER} ms of commit`,
    measured: `${presentInterval(middle, figure)} ms, at most ${figure(Math.max(...times))}`,
    reached: middle.median <= STANDBY_ANSWER,
  };
}

/** Reached where even the upper bound is within it. */
export function staysFast(name: string, turns: readonly Turn[]): Expectation {
  const ratio = bootstrapInterval(turns.map(({ figures: { inside, outside } }) => inside.p99 / outside.p99));
  return {
    name,
    expectation: `p99 inside the switch at most ${P99_RATIO} times that outside`,
    measured: presentInterval(ratio, figure),
    reached: ratio.isConfident ? ratio.high <= P99_RATIO : undefined,
  };
}

export function presentBar(bar: Expectation): string {
  return `bar: ${bar.name}: ${bar.expectation}: ${bar.measured}: ${verdictOf(bar)}`;
}
