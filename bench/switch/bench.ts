// The same app handed over again and again, under the same load: by this package in three ways, and by everybody else.
import type { Bench, BenchOptions, Report } from '../lib/bench.js';
import { Ending, withEnding } from '../lib/ending.js';
import { within } from '../lib/program.js';
import type { Contestant, Entrant } from './contestant.js';
import { DAEMONS } from './daemons.js';
import { Load } from './load.js';
import { bareStart, NODE_SERVERS, OURS, stopAndStart } from './node-servers.js';
import { PEERS } from './peers.js';
import { type Entry, type LeftOut, report } from './report.js';
import { takeTurn } from './turn.js';

const ENTRANTS: readonly Entrant[] = [...OURS, ...PEERS, ...NODE_SERVERS, ...DAEMONS];
/** Who must lose nothing, who must lose something, and whom this package did not write. */
const ALSO_QUICK: readonly Entrant[] = [...OURS, stopAndStart, ...DAEMONS];
/** After so many ms a quick run starts none of the others; a second round begins only before half of it. */
const QUICK_TIME = 30_000;
const START_TIMEOUT = 30_000;

export const bench: Bench = { defaultRounds: 10, run };

interface Running extends Entry {
  readonly contestant: Contestant;
  /** Ends it. */
  readonly own: Ending;
  failure?: string;
}

function run(options: BenchOptions): Promise<Report> {
  // Daemons and folders of their own would outlive it.
  return withEnding((ending) => measure(options, ending));
}

async function measure({ rounds, quick, progress }: BenchOptions, ending: Ending): Promise<Report> {
  const load = ending.own(new Load());
  const all: Entry[] = [];
  const running: Running[] = [];
  const leftOut: LeftOut[] = [];
  const begun = performance.now();
  const isLate = (time: number): boolean => quick && performance.now() - begun > time;
  const takeIn = async (entrant: Entrant): Promise<void> => {
    progress(`switch: ${entrant.name} starts`);
    const started = await start(entrant, ending.own(new Ending()));
    all.push(started);
    if ('contestant' in started) running.push(started);
  };
  const take = async (entry: Running, round: number): Promise<void> => {
    if (entry.failure !== undefined) return;
    progress(`switch: round ${round + 1} of ${rounds}, ${entry.entrant.name}`);
    await turn(entry, load, quick);
  };
  for (const entrant of [bareStart, ...(quick ? new Set([...ALSO_QUICK, ...ENTRANTS]) : ENTRANTS)]) {
    const isTooLate = isLate(QUICK_TIME) && !ALSO_QUICK.includes(entrant);
    const why = entrant.missing ?? (isTooLate ? `this quick run took ${QUICK_TIME / 1_000} s without it` : undefined);
    if (why !== undefined) leftOut.push({ name: entrant.name, why });
    else await takeIn(entrant);
    // One turn at once: whoever was started has been seen to switch.
    const last = running.at(-1);
    if (quick && last?.entrant === entrant) await take(last, 0);
  }
  for (let round = quick ? 1 : 0; round < rounds; round++) {
    if (isLate(QUICK_TIME / 2)) break;
    // Back and forth, so that what drifts within a round favours nobody.
    for (const entry of round % 2 === 0 ? running : running.toReversed()) await take(entry, round);
  }
  return report(all, leftOut);
}

/** Another that does not start is out, by name. @throws Error of this package: nothing is to be measured then */
async function start(entrant: Entrant, own: Ending): Promise<Running | Entry> {
  try {
    const contestant = await within(entrant.start(own), START_TIMEOUT, 'its start');
    return { entrant, contestant, own, turns: [] };
  } catch (error) {
    if (isNeeded(entrant)) throw error;
    await own.end().catch(() => {});
    return { entrant, turns: [], failure: (error as Error).message };
  }
}

/** Another's failure is a finding, and costs nobody else his turns. @throws Error of this package: nothing is to be measured then */
async function turn(entry: Running, load: Load, quick: boolean): Promise<void> {
  const { entrant, contestant, own, turns } = entry;
  try {
    turns.push(await takeTurn(entrant, contestant, load, { quick }));
  } catch (error) {
    if (isNeeded(entrant)) throw error;
    entry.failure = (error as Error).message;
    await own.end().catch(() => {});
  }
}

function isNeeded({ isOurs, replaces }: Entrant): boolean {
  return isOurs === true || replaces === 'none';
}
