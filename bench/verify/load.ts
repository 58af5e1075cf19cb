// The load: `handover hammer` as a process of its own, and what it has found.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { BODY } from './body.mjs';
import { COMMAND } from './target.js';

/** Clients of every kind, so that each is there at each handover. */
const MIX = 'keep-alive:6,new:2,idle:4,pipelined:2,half-sent:2,websocket:4';
/** It is ended by a signal; this is only when it would end by itself, and what it has to make room for. */
const MARGIN = 600_000;
/** Writing a heap snapshot stops a server for seconds where the machine is busy: the soak's own doing. */
export const ANSWER_TIMEOUT = 30_000;
const END_TIMEOUT = 60_000;

/** What is used of the last two lines of `handover hammer --json`. */
export interface LoadResult {
  readonly requests: { readonly ok: number; readonly lost: number };
  readonly lostBy: Readonly<Record<string, number>>;
  readonly connections: { readonly opened: number; readonly closedByServer: number };
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly longestGapMs: number;
  readonly ledger?: Readonly<Record<'executedTwice' | 'executedUnanswered' | 'gaps' | 'begunNotEnded', number>>;
  readonly notSent: number;
  readonly ownFaults: number;
  readonly reconnectsForced: number;
  /** The first ones in full. */
  readonly losses: readonly { readonly atMs: number; readonly kind: string; readonly detail: string }[];
}

export interface LoadOptions {
  readonly port: number;
  readonly ledger: string;
  /** Requests a second. */
  readonly rate: number;
  /** Milliseconds. */
  readonly duration: number;
  /** Gets its lines of JSON. */
  readonly data: string;
}

/** So far, for those who look on. */
export interface Progress {
  ok: number;
  lost: number;
  closedByServer: number;
}

export class Load {
  readonly progress: Progress = { ok: 0, lost: 0, closedByServer: 0 };
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #written: Promise<unknown>;
  #details: Record<string, unknown> | undefined;
  #result: Record<string, unknown> | undefined;
  #complaint = '';

  constructor({ port, ledger, rate, duration, data }: LoadOptions) {
    const what = ['--mix', MIX, '--rate', String(rate), '--websocket', '/echo', '--idle', '3s'];
    const sha256 = createHash('sha256').update(BODY).digest('hex');
    const judged = ['--expect', `sha256:${sha256}`, '--identify', 'header:x-pid', '--ledger', ledger];
    const patience = ['--timeout', `${ANSWER_TIMEOUT}ms`];
    const length = ['--duration', `${Math.ceil(duration + MARGIN)}ms`, '--json'];
    this.#child = spawn(
      process.execPath,
      [COMMAND, 'hammer', `http://127.0.0.1:${port}/`, ...what, ...judged, ...patience, ...length],
      { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    );
    this.#closed = once(this.#child, 'close').catch(({ message }: Error) => {
      this.#complaint = message;
    });
    const file = createWriteStream(data);
    this.#written = once(file, 'close');
    const { stdout, stderr } = this.#child;
    stdout?.pipe(file);
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-2_000);
    });
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.#learn(line));
  }

  /** Lets it finish what is under way. @throws Error it has no result */
  async end(): Promise<LoadResult> {
    this.#child.kill('SIGINT');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_TIMEOUT);
    await this.#closed;
    await this.#written;
    clearTimeout(timer);
    const found = this.#details && this.#result && { ...this.#details, ...this.#result };
    if (found !== undefined) return found as unknown as LoadResult;
    throw new Error(`handover hammer has no result: ${this.#complaint.trim() || 'it was killed'}`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #learn(line: string): void {
    const entry = JSON.parse(line) as Record<string, unknown>;
    if (entry.type === 'details') this.#details = entry;
    if (entry.type === undefined) this.#result = entry;
    if (entry.type !== 'tick') return;
    for (const name of ['ok', 'lost', 'closedByServer'] as const) this.progress[name] += Number(entry[name]);
  }
}
