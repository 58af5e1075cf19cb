// Counts what the connections report; the numbers add up, nothing is sampled.

import { failureKinds } from './classify.mjs';

export class Stats {
  ok = 0;
  failed = 0;
  opened = 0;
  closedByServer = 0;
  /** @type {import('./websockets.mjs').Counts | undefined} Where there are any. */
  webSockets;
  /** @type {Record<string, number>} */
  failures = Object.fromEntries(Object.keys(failureKinds).map((kind) => [kind, 0]));

  /** @param {import('./classify.mjs').Failure} [failure] */
  count(failure) {
    if (failure === undefined) {
      this.ok++;
    } else {
      this.failed++;
      this.failures[failure.kind]++;
    }
  }
}
