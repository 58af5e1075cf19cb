// The demo's options, checked before anything is started.

import { parseArgs } from 'node:util';

export class UsageError extends Error {}

const defaults = { handovers: 5, seconds: 15, port: 0 };

const checks = {
  handovers: { expects: 'a whole number from 1 to 1000', ok: (n) => Number.isInteger(n) && n >= 1 && n <= 1000 },
  seconds: { expects: 'a number from 1 to 3600', ok: (n) => n >= 1 && n <= 3600 },
  port: { expects: 'a whole number from 0 to 65535', ok: (n) => Number.isInteger(n) && n >= 0 && n <= 65_535 },
};

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
  // Not `strict`: its own messages do not say what an option expects.
  const { tokens } = parseArgs({
    args,
    strict: false,
    tokens: true,
    options: {
      handovers: { type: 'string' },
      seconds: { type: 'string' },
      port: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const options = { ...defaults, json: false, help: false };
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError(`unexpected argument ${JSON.stringify(token.value)}`);
    if (token.kind !== 'option') continue;
    if (token.name === 'json' || token.name === 'help') {
      if (token.value !== undefined) throw expectation(token.rawName, 'no value', token.value);
      options[token.name] = true;
    } else if (Object.hasOwn(checks, token.name)) {
      const { expects, ok } = checks[token.name];
      if (!isDecimal(token.value) || !ok(Number(token.value))) throw expectation(token.rawName, expects, token.value);
      options[token.name] = Number(token.value);
    } else {
      throw new UsageError(
        `unknown option ${token.rawName}; known are --handovers, --seconds, --port, --json and --help`,
      );
    }
  }
  return options;
}

/** Number('') is 0 and Number('0x10') is 16: neither is meant. */
function isDecimal(text) {
  return typeof text === 'string' && /^\d+(\.\d+)?$/.test(text);
}

function expectation(option, expects, value) {
  const got = value === undefined ? 'nothing' : JSON.stringify(value);
  return new UsageError(`option ${option} expects ${expects}, got ${got}`);
}
