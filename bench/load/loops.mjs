// Closed loops: each sends its next request when the last one is settled.

import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from './connection.mjs';

/** A loop whose request failed waits so long, or a refused port would turn it into a spinning one. */
const pauseAfterFailure = 20;

/**
 * @typedef {object} Group Loops of one kind.
 * @property {'keepAlive' | 'oneShot' | 'held' | 'webSocket'} kind `held`: keep-alive, and asked once in every round besides.
 * @property {number} connections
 * @property {number} [think] Up to so many milliseconds between two requests, or messages.
 * @property {number} [limit] Requests for each loop; without it, until stopped.
 */

/**
 * Runs one loop until it reaches its limit or is stopped; what is in flight then is still awaited.
 * @param {Group} group
 * @param {number} index Of the loop in its group.
 * @param {object} context
 * @param {import('./connection.mjs').Target} context.target
 * @param {import('./connection.mjs').Observer} context.observer
 * @param {() => import('./classify.mjs').Expected} context.pick
 * @param {(outcome: import('./connection.mjs').Outcome, expected: import('./classify.mjs').Expected) => void} context.settled
 * @param {import('./rounds.mjs').Rounds} context.rounds
 * @param {AbortSignal} context.stop
 */
export async function runLoop(group, index, { target, observer, pick, settled, rounds, stop }) {
  const connection = new Connection(target, observer);
  const member = group.kind === 'held' ? rounds.join() : undefined;
  const oneShot = group.kind === 'oneShot';
  // Half of the one-request clients say so beforehand, half just close: a server meets both.
  const announceClose = oneShot && index % 2 === 0;
  for (let left = group.limit ?? Number.POSITIVE_INFINITY; left > 0 && !stop.aborted; left--) {
    const expected = pick();
    const round = rounds.current;
    const outcome = await connection.request(expected, { announceClose });
    settled(outcome, expected);
    if (oneShot) connection.close();
    if (member !== undefined) rounds.answered(member, round);
    if (outcome.failure !== undefined) await sleep(pauseAfterFailure);
    else if (member !== undefined) await rounds.sleep(member, Math.random() * (group.think ?? 0));
    else if (group.think !== undefined) await sleep(Math.random() * group.think);
  }
  if (member !== undefined) rounds.leave(member);
  connection.close();
}

/**
 * Picks by weight.
 * @template {{ weight?: number }} T
 * @param {readonly T[]} choices
 * @returns {() => T}
 */
export function weighted(choices) {
  const total = choices.reduce((sum, { weight = 1 }) => sum + weight, 0);
  return () => {
    let left = Math.random() * total;
    for (const choice of choices) {
      left -= choice.weight ?? 1;
      if (left < 0) return choice;
    }
    return choices[0];
  };
}
