// Starts the load client and turns its lines into state that can be waited for.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Stats } from './stats.mjs';

const clientPath = fileURLToPath(new URL('client.mjs', import.meta.url));

/**
 * @typedef {object} LoadConfig
 * @property {string} host
 * @property {number} port
 * @property {number} deadline Milliseconds for one request.
 * @property {string} identifyBy The header that tells servers apart.
 * @property {(import('./classify.mjs').Expected & { weight?: number })[]} routes
 * @property {import('./loops.mjs').Group[]} groups
 */

export class Load {
  /** The latest counts. @type {Stats} */
  stats = new Stats();
  /** @type {Map<string, bigint>} When each server's first answer was whole (CLOCK_MONOTONIC, nanoseconds). */
  seen = new Map();
  /** @type {{ kind: string, detail: string, path?: string }[]} The first failures, in full. */
  failures = [];
  /** @type {Record<string, number>} Answers by server; known when done. */
  answers = {};
  /** Rounds that are over: see {@link ask}. */
  asked = 0;
  done = false;
  /** Set when the client process ended before it was done. */
  broken = '';

  #child;
  #closed;
  #rounds = 0;

  /**
   * @param {LoadConfig} config
   * @param {() => void} changed Called after every change of the state.
   */
  constructor(config, changed) {
    // A session of its own: Ctrl-C in a terminal reaches whoever started the client, and that one decides.
    this.#child = spawn(process.execPath, [clientPath], { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    this.#child.stdin.on('error', () => {}); // EPIPE: the client is gone, which its 'close' reports
    this.#child.stdin.write(`${JSON.stringify(config)}\n`);
    readline.createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#learn(JSON.parse(line));
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
  }

  /** Begins a round: every held connection and every WebSocket is used once more; `asked` tells when all have been. */
  ask() {
    this.#child.stdin.write('ask\n');
    return ++this.#rounds;
  }

  /** Asks the client to end after what is in flight; `done` tells when. */
  stop() {
    this.#child.stdin.end('stop\n');
  }

  /** Ends the client process, at once if it is still running, and waits until it is gone. */
  async end() {
    if (!this.done) this.#child.kill('SIGKILL');
    await this.#closed;
  }

  #learn({ event, ...fields }) {
    if (event === 'seen') {
      this.seen.set(fields.id, BigInt(fields.at));
    } else if (event === 'failure') {
      this.failures.push(fields);
    } else if (event === 'asked') {
      this.asked = fields.round;
    } else {
      const { answers, ...stats } = fields;
      this.stats = stats;
      if (event !== 'done') return;
      this.answers = answers;
      this.done = true;
    }
  }
}
