// The server under demonstration, through all its generations: started, followed by what they log, handed over, ended.

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import process from 'node:process';
import readline from 'node:readline';
import { identify, isAlive, marked, signal } from '../lib/process-id.mjs';

const keptLines = 30;
const pollInterval = 50;

/**
 * @typedef {{ generation: number, process: import('../lib/process-id.mjs').ProcessId }} Generation
 * @typedef {{ code: string, phase: string, stillServing: boolean, generation: number }} UpgradeFailure
 */

export class Server {
  /** @type {Generation[]} Those that took charge, in order. */
  generations = [];
  /** @type {UpgradeFailure[]} */
  upgradeFailures = [];
  /** @type {Map<number, { open?: number, moved?: number, cut?: number }>} What became of the connections of each generation that was superseded. */
  connections = new Map();
  /** @type {string[]} The last lines on stderr that are not log entries: a stack, say. */
  output = [];
  /** How the first generation, our own child, ended. */
  exit = '';
  /** No process holds the servers' stderr any more: as the kernel sees it, all have ended. */
  ended = false;

  #child;
  #pulse;
  #marker = `DEMO_RUN=${randomUUID()}`;

  /**
   * @param {{ script: string, cwd: string, port: number, pulse: import('./pulse.mjs').Pulse }} options
   */
  constructor({ script, cwd, port, pulse }) {
    this.#pulse = pulse;
    const [name, value] = this.#marker.split('=');
    // A session of its own: Ctrl-C in a terminal ends the demo, and the demo ends the server in charge.
    // Every later generation inherits the variable, and the same stderr from its predecessor.
    this.#child = spawn(process.execPath, [script], {
      cwd,
      env: { ...process.env, PORT: String(port), LOG: 'json', [name]: value },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    readline
      .createInterface({ input: this.#child.stderr })
      .on('line', (line) => {
        this.#learn(line);
        pulse.beat();
      })
      .on('close', () => {
        this.ended = true;
        pulse.beat();
      });
    this.#child.on('error', (error) => {
      this.exit = `did not start: ${error.message}`;
      pulse.beat();
    });
    this.#child.on('exit', (code, endedBy) => {
      this.exit = endedBy === null ? `exit code ${code}` : endedBy;
      pulse.beat();
    });
  }

  /** @returns {Generation | undefined} */
  get inCharge() {
    return this.generations.at(-1);
  }

  /** Whether the generation in charge is there; before the first one is in charge, whether our child is. */
  get isServing() {
    return this.inCharge === undefined ? this.exit === '' : isAlive(this.inCharge.process);
  }

  /** Asks the generation in charge to hand over. */
  handOver() {
    return this.inCharge !== undefined && signal(this.inCharge.process, 'SIGUSR2');
  }

  /**
   * Ends the generation in charge and waits until no generation is left. What is left at the deadline is killed.
   * @param {AbortSignal} hurry Cuts the wait short.
   * @param {number} timeout Milliseconds.
   * @returns {Promise<number[]>} The pids that had to be killed.
   */
  async end(hurry, timeout) {
    const told = new Set();
    const gone = () => {
      this.#tellInCharge(told);
      return this.ended && this.exit !== '' && this.#left().length === 0;
    };
    const polling = setInterval(this.#pulse.beat, pollInterval);
    hurry.addEventListener('abort', this.#pulse.beat);
    try {
      await this.#pulse.until(() => gone() || hurry.aborted, timeout);
      if (gone()) return [];
      const killed = this.#left().filter((identity) => signal(identity, 'SIGKILL'));
      await this.#pulse.until(gone, 5_000);
      return killed.map(({ pid }) => pid);
    } finally {
      clearInterval(polling);
      hurry.removeEventListener('abort', this.#pulse.beat);
      this.#child.stderr?.destroy();
    }
  }

  /** Tells the generation in charge to end; also one that takes charge only now, as a handover under way completes. */
  #tellInCharge(told) {
    const key = this.inCharge ?? this.#child;
    if (told.has(key)) return;
    told.add(key);
    if (this.inCharge !== undefined) signal(this.inCharge.process, 'SIGTERM');
    else this.#child.kill('SIGTERM');
  }

  /** Every process of ours that lives: those that told us, and those still loading, which only the kernel knows. */
  #left() {
    const known = this.generations.map((generation) => generation.process).filter(isAlive);
    const others = marked(this.#marker).flat();
    return [...known, ...others.filter(({ pid }) => !known.some((other) => other.pid === pid))];
  }

  #connectionsOf(generation) {
    const known = this.connections.get(generation) ?? {};
    this.connections.set(generation, known);
    return known;
  }

  #learn(line) {
    const entry = parse(line);
    if (entry?.event === 'in-charge') {
      this.generations.push({
        generation: entry.generation,
        process: identify(entry.pid) ?? { pid: entry.pid, startTime: 'ended' },
      });
    } else if (entry?.event === 'upgrade-failed') {
      this.upgradeFailures.push(entry);
    } else if (entry?.event === 'closing') {
      this.#connectionsOf(entry.generation).open = entry.open;
    } else if (entry?.event === 'drained') {
      const { moved, cut } = entry;
      Object.assign(this.#connectionsOf(entry.generation), { moved, cut });
    } else if (entry === undefined) {
      this.output.push(line);
      if (this.output.length > keptLines) this.output.shift();
    }
  }
}

function parse(line) {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
