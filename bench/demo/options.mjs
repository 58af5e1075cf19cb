// The demo's options, checked before anything is started.

import { decimal, FLAG, HELP, readOptions, refuseArguments, whole } from '../lib/options.mjs';

const defaults = { handovers: 5, seconds: 15, port: 0 };

export const help = `Usage: npm run demo -- [options]

Starts bench/demo/app.mjs, loads it from a process of its own with keep-alive clients and
one-connection-per-request clients, holds 200 mostly idle keep-alive connections and 50 WebSockets
with numbered messages, hands it over while they run, and checks every answer whole. After each
handover every connection that is held is used once more.

  --handovers N   how many times to hand over, 1 to 1000 (default ${defaults.handovers})
  --seconds S     how long to run, 1 to 3600 (default ${defaults.seconds}); longer if the handovers need it
  --port P        where the server listens on 127.0.0.1 (default: a free port)
  --json          print one JSON object as the last line; progress goes to stderr
  --help          show this

Exits with 0 if every request was answered and no connection was closed, 1 if a request, a message or a
handover failed or a connection was closed by the server, 2 for bad options, 130 when interrupted.
`;

/**
 * @typedef {{ handovers: number, seconds: number, port: number, json: boolean, help: boolean }} Options
 */

/**
 * @param {string[]} args
 * @returns {Options}
 * @throws {UsageError} Naming the option, what it expects and what it got.
 */
export function parseOptions(args) {
  const { values, positionals } = readOptions(args, {
    handovers: whole(1, 1000),
    seconds: decimal('a number from 1 to 3600', (seconds) => seconds >= 1 && seconds <= 3600),
    port: whole(0, 65_535),
    json: FLAG,
    help: HELP,
  });
  refuseArguments(positionals);
  return { ...defaults, json: false, help: false, ...values };
}
