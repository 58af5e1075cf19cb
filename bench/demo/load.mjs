// The load of the demo as the demo sees it: what it consists of, and what it has counted so far.

import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const processPath = fileURLToPath(new URL('load-process.mjs', import.meta.url));

/** What app.mjs must answer, stated a second time, independently, to check it against. */
const answers = {
  '/': 'hello\n',
  '/slow': 'hello, after 300 ms\n',
  '/big': Array.from({ length: 131_072 }, (_, line) => `${String(line).padStart(7, '0')}\n`).join(''),
};

/** Clients by their kind; `think`: up to so many milliseconds between two requests of one. */
const groups = [
  { path: '/', mix: { 'keep-alive': 10, new: 5 } },
  // Long requests: some straddle every switch.
  { path: '/slow', mix: { 'keep-alive': 4, new: 2 } },
  { path: '/big', mix: { 'keep-alive': 2, new: 1 }, think: 100 },
  // Idle most of the time: connections between two requests are a case of their own for a server that is replaced.
  { path: '/', mix: { 'keep-alive': 8 }, think: 200 },
  // Idle for seconds, and all of them used once more after each handover.
  { path: '/', mix: { 'keep-alive': 200 }, think: 4_000, isHeld: true },
  { path: '/', mix: { websocket: 50 }, think: 200, isHeld: true },
];

const noClients = { 'keep-alive': 0, new: 0, idle: 0, pipelined: 0, 'half-sent': 0, websocket: 0 };

/**
 * @typedef {{ open: number, closed: number, messages: number, lost: number, doubled: number, reordered: number }} WebSockets
 * @typedef {object} Stats
 * @property {number} ok
 * @property {number} failed
 * @property {number} opened
 * @property {number} closedByServer
 * @property {[kind: string, times: number, meaning: string][]} failures Those that have happened.
 * @property {WebSockets} webSockets
 */

/** @type {Stats} */
export const noStats = {
  ok: 0,
  failed: 0,
  opened: 0,
  closedByServer: 0,
  failures: [],
  webSockets: { open: 0, closed: 0, messages: 0, lost: 0, doubled: 0, reordered: 0 },
};

export class Load {
  /** The latest counts. */
  stats = noStats;
  /** @type {Map<string, bigint>} When each server's first answer was whole (CLOCK_MONOTONIC, nanoseconds). */
  seen = new Map();
  /** @type {{ kind: string, detail: string, path: string }[]} The first failures, in full. */
  failures = [];
  /** @type {Record<string, number>} Answers by server. */
  answers = {};
  /** Rounds that are over: see {@link ask}. */
  asked = 0;
  done = false;
  /** Set when the process ended before it was done. */
  broken = '';

  #child;
  #closed;
  #rounds = 0;

  /**
   * @param {{ host: string, port: number, deadline: number }} target `deadline`: milliseconds for one request.
   * @param {() => void} changed Called after every change of the state.
   */
  constructor(target, changed) {
    // A session of its own: Ctrl-C in a terminal reaches the demo, and the demo decides.
    this.#child = fork(processPath, { detached: true, serialization: 'advanced' });
    this.#child.on('message', (report) => {
      this.#learn(report);
      changed();
    });
    this.#child.on('error', (error) => {
      this.broken = `the load client did not start: ${error.message}`;
      changed();
    });
    this.#closed = once(this.#child, 'close').then(
      ([code, signal]) => {
        if (!this.done) this.broken = `the load client ended early (${signal ?? `exit code ${code}`})`;
        changed();
      },
      () => {},
    );
    this.#order({ type: 'start', groups: groups.map((group) => ({ ...group, plan: planOf(group, target) })) });
  }

  /** Begins a round: every held connection and every WebSocket is used once more; `asked` tells when all have been. */
  ask() {
    this.#order({ type: 'ask', round: ++this.#rounds });
    return this.#rounds;
  }

  /** Asks the clients to end after what is in flight; `done` tells when. */
  stop() {
    this.#order({ type: 'stop' });
  }

  /** Ends the process, at once if it is still running, and waits until it is gone. */
  async end() {
    if (!this.done) this.#child.kill('SIGKILL');
    await this.#closed;
  }

  #order(order) {
    this.#child.send(order, () => {}); // it cannot be sent where the process is gone, which its 'close' reports
  }

  #learn({ type, round, startedAt, stats, sightings, failures }) {
    if (type === 'asked') {
      this.asked = round;
      return;
    }
    this.stats = stats;
    this.failures = failures;
    for (const { id, firstAt } of sightings) this.seen.set(id, startedAt + BigInt(Math.round(firstAt * 1e6)));
    this.answers = Object.fromEntries(sightings.map(({ id, answers }) => [id, answers]));
    this.done = type === 'done';
  }
}

/** @returns {import('../../dist/hammer/plan.js').Plan} */
function planOf({ path, mix }, { host, port, deadline }) {
  const body = answers[path];
  const sha256 = createHash('sha256').update(body).digest('hex');
  return {
    target: { isTls: false, host, port, resumes: false },
    request: {
      method: 'GET',
      path,
      webSocketPath: path,
      countsEchoes: true,
      authority: `${host}:${port}`,
      headers: [],
    },
    expectation: { statuses: [[200, 200]], length: body.length, sha256 },
    identify: { by: 'header', name: 'x-pid' },
    mix: { ...noClients, ...mix },
    threads: 1,
    duration: 0,
    think: 0,
    idle: 0,
    halfPause: 0,
    depth: 1,
    answerTimeout: deadline,
    connectTimeout: deadline,
  };
}
