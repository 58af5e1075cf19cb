// The answer of `status` about one worker.

import { settlesWithin } from '../protocol/deadline.js';
import type { Params } from '../protocol/rpc.js';
import type { Slot } from './slot.js';
import type { Worker } from './worker.js';

/** Operators look for hung and stopped workers: such a worker must not hold up the answer. */
const ANSWER_TIMEOUT = 1_000;

export async function describeWorker(slot: Slot, worker: Worker): Promise<Params> {
  const { pid, state, startedAt, isAware, generation } = worker;
  const { cwd, args } = slot.release.program;
  const known = { slot: slot.index, pid, state, ageMs: Date.now() - startedAt, isAware, release: { cwd, args } };
  if (!isAware || worker.hasEnded) return known;
  let answer: Params = { generation, isSilent: true };
  const asked = worker.link.call('status').then(
    ({ params }) => {
      answer = params;
    },
    () => {},
  );
  await settlesWithin(asked, ANSWER_TIMEOUT);
  return { ...known, ...answer };
}
