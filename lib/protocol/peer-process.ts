// Whether the process at the other end of an ended channel is dead. Usually it is, but a process can close a channel and live.

import { Pidfd } from '../fd/pidfd.js';
import { type Clock, systemClock } from './clock.js';
import { settlesWithin } from './deadline.js';
import type { Hello } from './frames.js';

/**
 * Waits for the death of the process that sent this HELLO. False: it still lives after `grace` milliseconds. A process that
 * this one cannot watch (another pid namespace, no pidfds) counts as dead: the end of its channel is the only sign of it.
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
