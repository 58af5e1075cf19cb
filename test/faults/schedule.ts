// Which cells run, how many at a time, and the random ones with their seed.
import { availableParallelism } from 'node:os';
import { generator } from '../helpers/random.js';
import { Case, type CaseOptions, type CaseResult } from './case.js';
import type { Holding } from './holdings.js';
import { type Cell, KINDS, PHASES, type Point } from './points.js';

export interface Run extends CaseOptions {
  readonly cell: Cell;
}

/** A cell or two of each kind and side, and of every phase: what CI and `npm test` have time for. */
export const SHORT: readonly string[] = [
  'predecessor received:HELLO kill',
  'predecessor sent:MANIFEST throw',
  'predecessor received:CLAIMED kill',
  'predecessor received:READY stop',
  'predecessor phase:PROBATION exit1',
  'predecessor sent:COMMIT kill',
  'predecessor sent:COMMIT throw',
  'predecessor sent:COMMIT garbage',
  'predecessor phase:MIGRATE stop',
  'predecessor sent:OFFER#3 kill',
  'predecessor received:HELD stop',
  'predecessor received:HELD garbage',
  'predecessor sent:GO exit1',
  'predecessor sent:ABORT kill',
  'predecessor received:ABORT close',
  'predecessor phase:DRAIN kill',
  'predecessor phase:DRAIN close',
  'predecessor phase:RETIRE exit0',
  'successor app:load exit1',
  'successor received:MANIFEST kill',
  'successor sent:READY throw',
  'successor sent:READY many',
  'successor sent:HEARTBEAT stop',
  'successor signal@PROBATION garbage',
  'successor received:COMMIT kill',
  'successor sent:COMMITTED half',
  'successor sent:HEARTBEAT>COMMITTED stop',
  'successor received:OFFER pause',
  'successor received:OFFER stop',
  'successor received:OFFER#2 leave',
  'successor received:OFFER#2 unhealthy',
  'successor sent:HELD close',
  'successor sent:HELD#3 kill',
  'successor received:GO throw',
  'successor signal@DRAIN all moved unhealthy',
  'successor sent:ABORT exit0',
  'successor signal@DRAIN kill',
  'successor received:HEARTBEAT exit0',
  'successor received:HEARTBEAT@quick stop',
  'successor received:RETIRE garbage',
];

const HEALTHY: Point = { role: 'successor', name: 'none', phases: [] };

/** Runs all, some at a time; `onResult` hears of each as it ends. */
export async function runAll(
  runs: readonly Run[],
  parallel: number = availableParallelism(),
  onResult: (result: CaseResult) => void = () => {},
): Promise<CaseResult[]> {
  const healthy = new Case({ point: HEALTHY, kind: 'none' }, {});
  const results = [await healthy.run()];
  onResult(results[0] as CaseResult);
  const reference: Holding = healthy.reference;
  const queue = [...runs];
  const work = async (): Promise<void> => {
    for (let run = queue.shift(); run; run = queue.shift()) {
      const { cell, ...options } = run;
      const result = await new Case(cell, { ...options, reference }).run();
      results.push(result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  return results;
}

export function seedNow(): number {
  return Date.now() % 1_000_000_007;
}

/** Any fault at any time: what they must leave is one server. */
export function randomCells(seed: number, count: number): Run[] {
  const random = generator(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  return Array.from({ length: count }, () => {
    const role = pick(['predecessor', 'successor'] as const);
    const kind = pick([...KINDS.filter((name) => name !== 'busy'), 'pause' as const]);
    const point: Point = { role, name: 'random', phases: PHASES };
    return { cell: { point, kind }, delay: Math.floor(random() * 900), drain: Math.floor(random() * 1_200) };
  });
}
