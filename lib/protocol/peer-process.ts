// The process at the other end of a channel that has ended: dead, as the end of its channel usually means, or not.

import { Pidfd } from '../fd/pidfd.js';
import { type Clock, systemClock } from './clock.js';
import { settlesWithin } from './deadline.js';
import type { Hello } from './frames.js';

/**
 * Resolves when the process of this HELLO is dead, with true; with false where it lives after `grace` ms. One that cannot be
 * seen from here (another pid namespace, no pidfds) counts as dead: the end of its channel is then all there is.
 */
export async function hasDied(peer: Hello | undefined, grace?: number, clock: Clock = systemClock): Promise<boolean> {
  const process = peer?.startTime === undefined ? undefined : Pidfd.open(peer.pid, peer.startTime);
  if (!process) return true;
  if (grace !== undefined && !(await settlesWithin(process.exited, grace, clock))) {
    process.close();
    return false;
  }
  await process.exited;
  return true;
}
