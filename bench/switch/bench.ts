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

async function run({ rounds, quick, progress }: BenchOptions): Promise<Report> {
  const entrants = quick ? QUICK_ENTRANTS : ENTRANTS;
  const load = new Load();
  const running: (Entry & { readonly contestant: Contestant })[] = [];
  try {
    for (const entrant of [bareStart, ...entrants]) {
      if (entrant.missing !== undefined) continue;
      progress(`switch: ${entrant.name} starts`);
      running.push({ entrant, contestant: await entrant.start(), turns: [] });
    }
    for (let round = 0; round < rounds; round++) {
      // Back and forth, so that what drifts within a round favours nobody.
      for (const { entrant, contestant, turns } of round % 2 === 0 ? running : running.toReversed()) {
        progress(`switch: round ${round + 1} of ${rounds}, ${entrant.name}`);
        turns.push(await takeTurn(entrant, contestant, load, { quick }).catch(named(entrant.name)));
      }
    }
  } finally {
    await Promise.all([load.end(), ...running.map(({ contestant }) => contestant.end())]);
  }
  return report(
    running,
    entrants.filter(({ missing }) => missing !== undefined),
  );
}

function named(name: string): (error: Error) => never {
  return (error) => {
    throw new Error(`${name}: ${error.message}`, { cause: error });
  };
}
