// The load of the demo: clients of `handover hammer`, in a process of their own, so that neither the server nor the demo
// shares their event loop. Told over IPC what to do; says what it has counted.

import process from 'node:process';
import { Totals } from '../../dist/hammer/fleet.js';
import { LOSS_KINDS, NOT_SENT } from '../../dist/hammer/outcome.js';
import { Successes, Tally } from '../../dist/hammer/tally.js';
import { run } from '../../dist/hammer/thread.js';
import { Pace } from './pace.mjs';

const tickInterval = 100;
const longestRun = 2 * 3_600_000;
const lossesTold = 50;

const requests = new Totals();
const messages = new Totals();
const losses = [];
const successes = new Successes(Successes.create(longestRun));
const startedAt = process.hrtime.bigint();
/** @type {{ tally: Tally, totals: Totals, path: string, pace?: Pace, isHeld: boolean, stop(): void }[]} */
const groups = [];
let openAtEnd;
let running = 0;

function begin({ plan, think, isHeld }) {
  const totals = plan.mix.websocket > 0 ? messages : requests;
  const tally = new Tally(successes, false);
  const group = { tally, totals, path: plan.request.path, isHeld, stop: () => {} };
  groups.push(group);
  running++;
  const report = ({ type, delta }) => {
    add(group, delta);
    if (type === 'done' && --running === 0) tell('done', () => process.exit());
  };
  const paced = (clock) => {
    group.pace = new Pace(clock, think);
    return group.pace;
  };
  group.stop = run(plan, 0, tally, startedAt, report, think === undefined ? undefined : paced);
}

function add({ totals, path }, delta) {
  totals.add(delta, 0);
  losses.push(...delta.losses.splice(0).map((loss) => ({ ...loss, path })));
}

function stop() {
  for (const group of groups) add(group, group.tally.drain());
  openAtEnd = open();
  for (const group of groups) group.stop();
}

/** WebSockets that are open now; one that the server closed is opened again by its client. */
function open() {
  return messages.counts.opened - messages.counts.closed;
}

function failures() {
  const kinds = Object.entries(requests.lostBy).map(([kind, times]) => [kind, times, LOSS_KINDS[kind]]);
  return [...kinds, ['notSent', requests.counts.notSent, NOT_SENT]].filter(([, times]) => times > 0);
}

function tell(type, told) {
  const { ok, lost, notSent, opened, closedByServer } = requests.counts;
  const { counts: spoken, lostBy } = messages;
  const webSockets = {
    open: openAtEnd ?? open(),
    closed: spoken.closedByServer,
    messages: spoken.ok,
    lost: spoken.lost + spoken.notSent - lostBy.wrongBody,
    doubled: spoken.unasked,
    reordered: lostBy.wrongBody - spoken.unasked,
  };
  const stats = { ok, failed: lost + notSent, opened, closedByServer, failures: failures(), webSockets };
  const sightings = [...requests.sightings.values()];
  process.send({ type, startedAt, stats, sightings, failures: losses.slice(0, lossesTold) }, told);
}

process.on('message', ({ type, ...order }) => {
  if (type === 'start') {
    for (const group of order.groups) begin(group);
    setInterval(() => tell('tick'), tickInterval).unref();
  } else if (type === 'ask') {
    const held = groups.filter(({ isHeld }) => isHeld);
    void Promise.all(held.map(({ pace }) => pace.ask())).then(() =>
      process.send({ type: 'asked', round: order.round }),
    );
  } else {
    stop();
  }
});
process.on('disconnect', () => process.exit());
