// A listener that was handed over and that the new process does not claim: clients would be refused there from the moment in
// which the old process stops accepting. That fails the handover, unless it is said to be meant.

import { HandoverError, typeError } from '../errors.js';
import type { Claims, ManifestEntry } from '../protocol/frames.js';

/** `'close'`: all of them may be left; or those of these names. */
export type Unclaimed = 'fail' | 'close' | readonly string[];

/** @throws TypeError another word, or no names */
export function checkUnclaimed(unclaimed: unknown = 'fail'): Unclaimed {
  const isNames = Array.isArray(unclaimed) && unclaimed.every((name) => typeof name === 'string');
  if (unclaimed === 'fail' || unclaimed === 'close' || isNames) return unclaimed as Unclaimed;
  throw typeError('options.unclaimed', "'fail', 'close' or a list of names of listeners", unclaimed);
}

export function mayBeLeft(unclaimed: Unclaimed, name: string): boolean {
  return unclaimed === 'close' || (unclaimed !== 'fail' && unclaimed.includes(name));
}

/** Also where one was bound that has only a stand-in (Ledger.standIn). Undefined where every listener of `offered` was claimed, or may be left. */
export function unclaimedError(
  { unclaimed, bound = [], left = [] }: Claims,
  offered: readonly ManifestEntry[],
  may: Unclaimed = left,
  standIns: readonly ManifestEntry[] = [],
): HandoverError | undefined {
  const lost = offered.filter(
    ({ name, isOptional }) => !isOptional && unclaimed.includes(name) && !mayBeLeft(may, name),
  );
  if (lost.length === 0) return standIns[0] && inTheWay(standIns[0]);
  const names = lost.map(({ name, address }) => (name === address ? name : `"${name}" at ${address}`)).join(', ');
  const instead = bound.length > 0 ? ` It has bound ${bound.map(({ address }) => address).join(', ')}.` : '';
  const list = lost.map(({ name }) => `'${name}'`).join(', ');
  const message =
    `the new process does not listen on ${names}, which was handed over: clients would be refused.${instead} ` +
    `If it is meant, say so there: unclaimed: 'close' or unclaimed: [${list}]`;
  return new HandoverError('ERR_HANDOVER_UNCLAIMED', message, { phase: 'PREPARE', stillServing: true });
}

function inTheWay({ address }: ManifestEntry): HandoverError {
  const message = `cannot bind ${address}: a listener that the predecessor handed over is in its way`;
  return new HandoverError('ERR_HANDOVER_ADDRESS_IN_USE', message, { phase: 'PREPARE', stillServing: true });
}
