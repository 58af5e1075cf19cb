// The load client as a process of its own, so that neither the server nor whoever watches it shares its event loop.
//
// stdin:  one line of configuration (see start.mjs), lines `ask` (a round: every held connection and every WebSocket is
//         used once more), later the line `stop`. The end of stdin without it: whoever started this process is gone, so it
//         ends at once.
// stdout: JSON lines: `seen` (first answer of a server), `failure` (the first of them, in full), `asked` (a round is over),
//         `tick`, `done`.

import process from 'node:process';
import readline from 'node:readline';
import { Identities } from './identify.mjs';
import { runLoop, weighted } from './loops.mjs';
import { Rounds } from './rounds.mjs';
import { Stats } from './stats.mjs';

const tickInterval = 200;
const failuresTold = 50;

const stop = new AbortController();
const rounds = new Rounds((round) => tell('asked', { round }));
let started = false;

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'stop') {
      stop.abort();
      rounds.end();
    } else if (line === 'ask') {
      rounds.begin();
    } else if (!started) {
      started = true;
      void run(JSON.parse(line));
    }
  })
  .on('close', () => {
    if (!stop.signal.aborted) process.exit(1);
  });

function tell(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

async function run({ host, port, deadline, identifyBy, routes, groups }) {
  const stats = new Stats();
  const identities = new Identities(identifyBy);

  const count = (failure, path) => {
    stats.count(failure);
    if (failure !== undefined && stats.failed <= failuresTold) tell('failure', { ...failure, path });
  };
  const context = {
    target: { host, port, deadline },
    observer: {
      opened: () => stats.opened++,
      closedByServer: () => stats.closedByServer++,
      unasked: (failure) => count(failure),
    },
    pick: weighted(routes),
    settled({ failure, headers }, { path }) {
      count(failure, path);
      if (failure !== undefined) return;
      const id = identities.see(headers);
      if (id !== undefined) tell('seen', { id, at: String(process.hrtime.bigint()) });
    },
    rounds,
    stop: stop.signal,
  };
  const talks = groups.find(({ kind }) => kind === 'webSocket');
  // The package `ws` is loaded by those who want it only.
  const webSockets = talks && new (await import('./websockets.mjs')).WebSockets(context.target, talks, rounds);
  const now = () => ({ ...stats, ...(webSockets && { webSockets: webSockets.counts }) });

  const ticking = setInterval(() => tell('tick', now()), tickInterval);
  await Promise.all([
    webSockets?.run(stop.signal),
    ...groups
      .filter((group) => group !== talks)
      .flatMap((group) => Array.from({ length: group.connections }, (_, index) => runLoop(group, index, context))),
  ]);
  clearInterval(ticking);
  const last = now();
  await webSockets?.end();
  tell('done', { ...last, answers: identities.answers });
  stop.abort();
  process.stdin.destroy();
}
