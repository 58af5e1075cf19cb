// One turn of a contestant: the load, the switch in the middle of it, and the calm on both sides.
import { setTimeout as sleep } from 'node:timers/promises';
import { allGone } from '../lib/processes.js';
import type { Contestant, Entrant, Marks } from './contestant.js';
import type { Load } from './load.js';
import { endOf, figuresOf, type Moments, SETTLING, type SwitchFigures } from './window.js';

export interface Turn {
  readonly figures: SwitchFigures;
  readonly marks: Marks;
  /** From when a standby was told to be in charge to its first answer; ms. */
  readonly commitToAnswer: number | undefined;
}

/** Before the trigger and after the switch; ms. */
const CALM = { full: 350, quick: 100 };
/** Whatever has not happened by then does not. */
const PATIENCE = 20_000;

/** @throws Error naming whose switch has not ended */
export async function takeTurn(
  entrant: Entrant,
  contestant: Contestant,
  load: Load,
  { quick }: { readonly quick: boolean },
): Promise<Turn> {
  const calm = quick ? CALM.quick : CALM.full;
  await contestant.prepare?.();
  await load.start(contestant.port);
  await sleep(SETTLING + calm);
  const { marks, ...moments } = await change(entrant, contestant, load).catch(async (error: Error) => {
    await load.stop();
    throw new Error(`${entrant.name}: ${error.message}`, { cause: error });
  });
  await sleep(Math.max(0, endOf(moments) - load.now) + calm);
  const recording = await load.stop();
  const commitToAnswer = marks.commit === undefined ? undefined : moments.answeredAt - load.at(marks.commit);
  return { figures: figuresOf(recording, moments), marks, commitToAnswer };
}

async function change(
  { replaces }: Entrant,
  contestant: Contestant,
  load: Load,
): Promise<Moments & { readonly marks: Marks }> {
  const old = new Set(load.seen.keys());
  const triggeredAt = load.now;
  const isDone = contestant.trigger();
  const [marks, answeredAt, goneAt] = await Promise.all([
    isDone,
    replaces === 'none' ? isDone.then(() => load.now) : load.answerOfAnother(old, PATIENCE),
    replaces === 'process' ? allGone([...old].map(Number), PATIENCE).then(() => load.now) : undefined,
  ]);
  return { marks, triggeredAt, answeredAt, goneAt };
}
