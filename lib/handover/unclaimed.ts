// Checks that the successor claims every listener that was handed over. An unclaimed listener would refuse clients from the
// moment in which the predecessor stops accepting, so it fails the handover, unless the option `unclaimed` allows it.

import { HandoverError, typeError } from '../errors.js';
import type { Claims, ManifestEntry } from '../protocol/frames.js';

/** `'close'`: every listener may stay unclaimed; a list: the listeners of these names; `'fail'`: none. */
export type Unclaimed = 'fail' | 'close' | readonly string[];

/** @throws TypeError neither 'fail' nor 'close' nor a list of strings */
export function checkUnclaimed(unclaimed: unknown = 'fail'): Unclaimed {
  const isNames = Array.isArray(unclaimed) && unclaimed.every((name) => typeof name === 'string');
  if (unclaimed === 'fail' || unclaimed === 'close' || isNames) return unclaimed as Unclaimed;
  throw typeError('options.unclaimed', "'fail', 'close' or a list of names of listeners", unclaimed);
}

export function mayBeLeft(unclaimed: Unclaimed, name: string): boolean {
  return unclaimed === 'close' || (unclaimed !== 'fail' && unclaimed.includes(name));
}

/**
 * The error for the listeners of `offered` that are lost, or for an address that only a stand-in holds (Ledger.standIn).
 * Undefined if every listener was claimed or may stay unclaimed.
 */
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
  const instead = bound.length > 0 ? ` It has bound ${bound.map(({ address }) => address).join(', ')} instead.` : '';
  const list = lost.map(({ name }) => `'${name}'`).join(', ');
  const message =
    `the new process does not listen on ${names}, which was handed over: clients would be refused.${instead} ` +
    `If that is intended, set in the new process: unclaimed: 'close' or unclaimed: [${list}]`;
  return new HandoverError('ERR_HANDOVER_UNCLAIMED', message, { phase: 'PREPARE', stillServing: true });
}

function inTheWay({ address }: ManifestEntry): HandoverError {
  const message = `cannot bind ${address}: a listener that the predecessor handed over is in its way`;
  return new HandoverError('ERR_HANDOVER_ADDRESS_IN_USE', message, { phase: 'PREPARE', stillServing: true });
}
