// One run: the server and the load started, the handovers spread over the time, everything ended and counted.

import { once } from 'node:events';
import net from 'node:net';
import process from 'node:process';
import { Load, noStats } from './load.mjs';
import { Pulse } from './pulse.mjs';
import { Server } from './server.mjs';

const host = '127.0.0.1';
const requestDeadline = 10_000;
const startTimeout = 15_000;
const handoverTimeout = 30_000;
const roundTimeout = 15_000;
const endTimeout = 20_000;
const livenessInterval = 250;
/** A generation may end before the line in which its successor says that it is in charge has been read. */
const absenceAllowed = 2_000;

/** Ends the run early; the message is for the person who started it. */
class Problem extends Error {}

/**
 * @param {object} options
 * @param {import('./options.mjs').Options} options.wanted
 * @param {string} options.script The server to run.
 * @param {string} options.root Where to run it.
 * @param {import('./view.mjs').View} options.view
 * @param {AbortSignal} options.interrupted End at once, but leave no process.
 * @param {AbortSignal} options.hurry Do not even wait for that.
 * @returns {Promise<import('./report.mjs').Result>}
 */
export async function run({ wanted, script, root, view, interrupted, hurry }) {
  const pulse = new Pulse();
  interrupted.addEventListener('abort', pulse.beat);
  const port = wanted.port === 0 ? await freePort() : wanted.port;
  const problems = [];
  const handovers = [];
  let begun = performance.now();

  const server = new Server({ script, cwd: root, port, pulse });
  /** @type {Load | undefined} */
  let load;

  let absentSince;
  /** Waits, unless it has become pointless. */
  const until = async (condition, timeout) => {
    const looking = setInterval(pulse.beat, livenessInterval); // a later generation is not our child: nothing tells when it dies
    try {
      return await pulse.until(() => {
        if (interrupted.aborted) throw new Problem('interrupted');
        if (load !== undefined && load.broken !== '') throw new Problem(load.broken);
        absentSince = server.isServing ? undefined : (absentSince ?? performance.now());
        if ((server.ended && !server.isServing) || performance.now() - absentSince > absenceAllowed)
          throw new Problem(gone(server));
        return condition();
      }, timeout);
    } finally {
      clearInterval(looking);
    }
  };
  const answered = (generation) => load.seen.get(String(generation.process.pid));

  const handOver = async () => {
    const from = server.inCharge;
    const failuresBefore = server.upgradeFailures.length;
    const refused = () => server.upgradeFailures.length > failuresBefore;
    const asked = process.hrtime.bigint();
    if (!server.handOver()) throw new Problem(gone(server));
    const over = () => refused() || (server.inCharge !== from && answered(server.inCharge) !== undefined);
    const name = `handover from generation ${from.generation} (pid ${from.process.pid})`;
    if (!(await until(over, handoverTimeout))) throw new Problem(`${name}: ${unfinished(server, from)}`);
    if (refused()) throw new Problem(`${name} failed: ${explain(server.upgradeFailures.at(-1))}`);
    const to = server.inCharge;
    if (to.generation !== from.generation + 1) throw new Problem(`${name} led to generation ${to.generation}`);
    const handover = { from, to, switchTime: Number(answered(to) - asked) / 1e6 };
    handovers.push(handover);
    view.switched(handover);
    await askAll();
  };
  const askAll = async () => {
    const round = load.ask();
    if (await until(() => load.asked >= round, roundTimeout)) return;
    throw new Problem(
      `not every connection was answered within ${roundTimeout} ms after generation ${server.inCharge.generation} took charge`,
    );
  };

  try {
    if (!(await until(() => server.inCharge !== undefined, startTimeout))) {
      throw new Problem(`the server did not say within ${startTimeout} ms that it is in charge`);
    }
    load = new Load({ host, port, deadline: requestDeadline }, pulse.beat);
    if (!(await until(() => answered(server.inCharge) !== undefined, startTimeout))) {
      throw new Problem(`the server answered nothing within ${startTimeout} ms`);
    }
    begun = performance.now();
    const elapsed = () => (performance.now() - begun) / 1_000;
    view.start(() => ({
      elapsed: elapsed(),
      seconds: wanted.seconds,
      inCharge: server.inCharge,
      handovers: handovers.length,
      handoversWanted: wanted.handovers,
      stats: load.stats,
    }));
    const untilSecond = (second) => until(() => false, (second - elapsed()) * 1_000);
    for (let next = 1; next <= wanted.handovers; next++) {
      await untilSecond((wanted.seconds * next) / (wanted.handovers + 1));
      await handOver();
    }
    await untilSecond(wanted.seconds);
    // A generation that died in the last seconds was not absent for long enough yet to be called dead.
    await until(() => server.isServing, absenceAllowed + requestDeadline);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    problems.push(error.message);
  } finally {
    // Also after a problem: what is in flight is awaited and counted.
    const counted = () => load === undefined || load.done || load.broken !== '' || interrupted.aborted;
    load?.stop();
    if (!(await pulse.until(counted, requestDeadline + 5_000))) problems.push('the load client did not end');
    if (load !== undefined && load.broken !== '' && !problems.includes(load.broken)) problems.push(load.broken);
    view.stop();
    await load?.end();
    const killed = await server.end(hurry, endTimeout);
    if (killed.length > 0) problems.push(`had to be killed, as they did not end by SIGTERM: pid ${killed.join(', ')}`);
    else if (!server.ended) problems.push('a process unknown to the demo still holds the stderr of the server');
    else if (problems.length === 0 && server.exit !== 'exit code 0')
      problems.push(`generation 1 ended with ${server.exit}`);
  }
  if (problems.length > 0 && server.output.length > 0) problems.push(`the server wrote:\n${server.output.join('\n')}`);
  return {
    seconds: (performance.now() - begun) / 1_000,
    handovers,
    generations: server.generations,
    ...fates(server),
    stats: load?.stats ?? noStats,
    answers: load?.answers ?? {},
    failures: load?.failures ?? [],
    problems,
  };
}

/** What became of the connections of the generations that were superseded. */
function fates({ connections, inCharge }) {
  const left = [...connections].filter(([generation]) => generation !== inCharge?.generation).map(([, fate]) => fate);
  const migrated = left.reduce((sum, { moved = 0 }) => sum + moved, 0);
  // Open when it was superseded and not moved: they ended in it. A server that does not count those tells what it cut.
  const drained = left.reduce(
    (sum, { open, moved = 0, cut = 0 }) => sum + (open === undefined ? cut : open - moved),
    0,
  );
  return { migrated, drained };
}

async function freePort() {
  const probe = net.createServer().listen(0, host);
  await once(probe, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (probe.address());
  probe.close();
  await once(probe, 'close');
  return port;
}

function gone({ inCharge, exit }) {
  if (inCharge === undefined) return `the server ended before it was in charge: ${exit}`;
  return `generation ${inCharge.generation} (pid ${inCharge.process.pid}) died in charge`;
}

function unfinished({ inCharge }, from) {
  const what = inCharge === from ? 'no successor in charge' : `no answer from generation ${inCharge.generation}`;
  return `${what} within ${handoverTimeout} ms`;
}

function explain({ code, phase, stillServing }) {
  return `${code} in phase ${phase}, the old generation is ${stillServing ? '' : 'not '}serving`;
}
