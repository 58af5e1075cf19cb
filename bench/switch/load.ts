// The load of `switch` as the bench sees it: one process for all turns, the same clients against every contestant.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LossKind } from '../../dist/hammer/outcome.js';
import type { Plan } from '../../dist/hammer/plan.js';
import type { Counts } from '../../dist/hammer/tally.js';
import { body } from '../workers/app.mjs';

/** Every answer and every loss of one turn; milliseconds since the load began. */
export interface Recording {
  /** When each right answer was whole, in that order. */
  readonly at: Float64Array;
  /** From when its request should have begun. */
  readonly latency: Float64Array;
  /** Who gave it: an index into `identities`. */
  readonly by: Uint8Array;
  readonly identities: readonly string[];
  readonly losses: readonly { readonly kind: LossKind; readonly detail: string; readonly at: number }[];
  readonly counts: Counts;
}

export type LoadOrder = { readonly type: 'start'; readonly plan: Plan } | { readonly type: 'stop' };

export type LoadReport =
  | { readonly type: 'started'; readonly startedAt: bigint }
  | { readonly type: 'seen'; readonly identity: string; readonly at: number }
  | { readonly type: 'done'; readonly record: Recording };

/** Arrivals a second, far from what two processors can do: not the load is measured, but the switch under it. */
export const RATE = 1_000;
/** Most are between two requests at any moment: it is them that a server closes under their next request. */
const MIX = { 'keep-alive': 40, new: 8, idle: 6, pipelined: 4, 'half-sent': 4, websocket: 0 };
/** Without a whole answer for so long a request is lost: accepted, never answered. */
const ANSWER_TIMEOUT = 3_000;
/** It takes a second SYN, one second later, where the first is dropped; nobody waits for a third. */
const CONNECT_TIMEOUT = 3_000;
const LONGEST_TURN = 60_000;

export class Load {
  readonly #child: ChildProcess;
  #startedAt = 0n;
  #seen = new Map<string, number>();
  #changed: () => void = () => {};

  constructor() {
    const program = fileURLToPath(new URL('load-process.ts', import.meta.url));
    this.#child = fork(program, { serialization: 'advanced' });
    this.#child.on('message', (report: LoadReport) => {
      if (report.type === 'seen') this.#seen.set(report.identity, report.at);
      this.#changed();
    });
  }

  /** Resolves when it has begun. */
  async start(port: number): Promise<void> {
    this.#seen = new Map();
    this.#child.send({ type: 'start', plan: planFor(port) } satisfies LoadOrder);
    this.#startedAt = (await this.#report('started')).startedAt;
  }

  /** A moment of the clock all processes share, as milliseconds since the load began. */
  at(moment: bigint): number {
    return Number(moment - this.#startedAt) / 1e6;
  }

  get now(): number {
    return this.at(process.hrtime.bigint());
  }

  /** Who has answered, and when first. */
  get seen(): ReadonlyMap<string, number> {
    return this.#seen;
  }

  /** Resolves when somebody who is not of those has answered, with when that was. @throws Error nobody did */
  async answerOfAnother(known: ReadonlySet<string>, deadline: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no new process answered within ${deadline} ms`)), deadline);
      const look = (): void => {
        const found = [...this.#seen].find(([identity]) => !known.has(identity));
        if (found === undefined) return;
        clearTimeout(timer);
        this.#changed = () => {};
        resolve(found[1]);
      };
      this.#changed = look;
      look();
    });
  }

  /** No new requests; resolves when the last one is settled. */
  async stop(): Promise<Recording> {
    this.#child.send({ type: 'stop' } satisfies LoadOrder);
    return (await this.#report('done')).record;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill();
    await once(this.#child, 'exit');
  }

  async #report<T extends LoadReport['type']>(type: T): Promise<Extract<LoadReport, { type: T }>> {
    const over = new AbortController();
    const ended = once(this.#child, 'exit', { signal: over.signal }).then(() => {
      throw new Error('the load has ended by itself');
    });
    ended.catch(() => {});
    try {
      for (;;) {
        const [report] = (await Promise.race([once(this.#child, 'message', { signal: over.signal }), ended])) as [
          LoadReport,
        ];
        if (report.type === type) return report as Extract<LoadReport, { type: T }>;
      }
    } finally {
      over.abort();
    }
  }
}

function planFor(port: number): Plan {
  return {
    target: { isTls: false, host: '127.0.0.1', port, resumes: false },
    request: { method: 'GET', path: '/', webSocketPath: '/', authority: `127.0.0.1:${port}`, headers: [] },
    expectation: { statuses: [[200, 200]], text: body },
    identify: { by: 'header', name: 'x-pid' },
    mix: MIX,
    threads: 1,
    duration: LONGEST_TURN,
    rate: RATE,
    think: 0,
    idle: 400,
    halfPause: 100,
    depth: 4,
    answerTimeout: ANSWER_TIMEOUT,
    connectTimeout: CONNECT_TIMEOUT,
  };
}
