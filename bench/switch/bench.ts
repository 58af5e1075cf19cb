// The same app handed over again and again, under the same load: by this package in three ways, and by everybody else.
import type { Bench, BenchOptions, Report } from '../lib/bench.js';
import type { Contestant, Entrant } from './contestant.js';
import { DAEMONS } from './daemons.js';
import { Load } from './load.js';
import { bareStart, NODE_SERVERS, OURS, stopAndStart } from './node-servers.js';
import { PEERS } from './peers.js';
import { type Entry, report } from './report.js';
import { takeTurn } from './turn.js';

const ENTRANTS: readonly Entrant[] = [...OURS, ...PEERS, ...NODE_SERVERS, ...DAEMONS];
/** Enough to show that it runs: who must lose nothing, and who must lose something. */
const QUICK_ENTRANTS: readonly Entrant[] = [...OURS, stopAndStart];

export const bench: Bench = { defaultRounds: 10, run };

interface Running extends Entry {
  readonly contestant: Contestant;
  failure?: string;
}

async function run({ rounds, quick, progress }: BenchOptions): Promise<Report> {
  const entrants = quick ? QUICK_ENTRANTS : ENTRANTS;
  const load = new Load();
  const running: Running[] = [];
  const end = async (): Promise<void> => {
    await Promise.all([load.end(), ...running.splice(0).map(({ contestant }) => contestant.end())]);
  };
  // Daemons and folders of their own would outlive it.
  const endEarly = (): void => void end().finally(() => process.exit(1));
  process.once('SIGINT', endEarly).once('SIGTERM', endEarly);
  try {
    for (const entrant of [bareStart, ...entrants]) {
      if (entrant.missing !== undefined) continue;
      progress(`switch: ${entrant.name} starts`);
      running.push({ entrant, contestant: await entrant.start(), turns: [] });
    }
    const entries = [...running];
    for (let round = 0; round < rounds; round++) {
      // Back and forth, so that what drifts within a round favours nobody.
      for (const entry of round % 2 === 0 ? entries : entries.toReversed()) {
        if (entry.failure !== undefined) continue;
        progress(`switch: round ${round + 1} of ${rounds}, ${entry.entrant.name}`);
        await takeIn(entry, load, quick);
      }
    }
    return report(
      entries,
      entrants.filter(({ missing }) => missing !== undefined),
    );
  } finally {
    process.removeListener('SIGINT', endEarly).removeListener('SIGTERM', endEarly);
    await end();
  }
}

/** Another's failure is a finding, and costs nobody else his turns. @throws Error of this package: nothing is to be measured then */
async function takeIn(entry: Running, load: Load, quick: boolean): Promise<void> {
  const { entrant, contestant, turns } = entry;
  try {
    turns.push(await takeTurn(entrant, contestant, load, { quick }));
  } catch (error) {
    if (entrant.isOurs || entrant.replaces === 'none') throw error;
    entry.failure = (error as Error).message;
  }
}
