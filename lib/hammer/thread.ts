// A thread of the load: runs its share of the clients, and posts their counts in ticks.
import { parentPort, workerData } from 'node:worker_threads';
import { type ClientContext, Naps } from './client.js';
import { createClient } from './clients.js';
import { Deadlines } from './deadlines.js';
import { Identifier } from './identify.js';
import { Judge } from './outcome.js';
import { ClosedLoop, OpenLoop, type Pace } from './pace.js';
import { CLIENT_KINDS, type Plan } from './plan.js';
import { RequestText } from './request.js';
import { HeadCache } from './response.js';
import { type Delta, Successes, Tally } from './tally.js';
import { Dialer } from './transport.js';

/** Start data of a thread. */
export interface ThreadData {
  readonly plan: Plan;
  /** From 0 on. */
  readonly index: number;
  readonly successes: { readonly buffer: SharedArrayBuffer; readonly slotTime: number };
}

/** Orders to the thread: begin, with CLOCK_MONOTONIC of the start of the run; make no new requests. */
export type ThreadOrder = { readonly type: 'go'; readonly startedAt: bigint } | { readonly type: 'stop' };

/** Reports of the thread. `issued`: how many numbers it has given to requests. */
export type ThreadReport =
  | { readonly type: 'ready' }
  | { readonly type: 'tick' | 'done'; readonly at: number; readonly delta: Delta; readonly issued: number };

const TICK = 100;

const port = parentPort;
if (port !== null) serve(workerData as ThreadData);

function serve({ plan, index, successes }: ThreadData): void {
  let stop = (): void => {};
  const report = (message: ThreadReport): void => port?.postMessage(message);
  port?.on('message', (order: ThreadOrder) => {
    if (order.type === 'stop') stop();
    else
      stop = run(
        plan,
        index,
        new Tally(new Successes(successes), plan.request.numberHeader !== undefined),
        order.startedAt,
        report,
      );
  });
  report({ type: 'ready' });
}

/**
 * Runs until every client has finished; returns a function that makes them finish. Works also in a process of its own, and
 * with another pace.
 */
export function run(
  plan: Plan,
  index: number,
  tally: Tally,
  startedAt: bigint,
  report: (message: ThreadReport) => void,
  paceOf: (clock: () => number) => Pace = (clock) => createPace(plan, index, clock, tally),
): () => void {
  const shift = Number(process.hrtime.bigint() - startedAt) / 1e6 - performance.now();
  const clock = (): number => performance.now() + shift;
  const naps = new Naps();
  const deadlines = new Deadlines(clock);
  const pace = paceOf(clock);
  let issued = 0;
  const post = (type: 'tick' | 'done'): void => report({ type, at: clock(), delta: tally.drain(), issued });
  const ticking = setInterval(() => post('tick'), TICK);
  const finish = (): void => {
    clearInterval(ticking);
    deadlines.stop();
    post('done');
    port?.close();
  };
  const shares = CLIENT_KINDS.flatMap((kind) => Array.from({ length: plan.mix[kind] }, (_, i) => ({ kind, i })));
  const mine = shares.filter((_, position) => position % plan.threads === index);
  let running = mine.length;
  const context: ClientContext = {
    plan,
    target: plan.target,
    dialer: new Dialer(plan.target),
    deadlines,
    judge: new Judge(plan.expectation),
    tally,
    clock,
    connectTimeout: plan.connectTimeout,
    answerTimeout: plan.answerTimeout,
    pace,
    text: new RequestText(plan.request),
    heads: new HeadCache(),
    naps,
    identifier: plan.identify === undefined ? undefined : new Identifier(plan.identify),
    nextNumber: () => 1 + index + plan.threads * issued++,
    finished: () => {
      running--;
      // There are no more requests, so clients that sleep until their next one end, too.
      naps.end();
      if (running === 0) finish();
    },
  };
  for (const { kind, i } of mine) createClient(kind, i, context).run();
  return () => {
    tally.stop();
    pace.stop();
    naps.end();
  };
}

function createPace(plan: Plan, index: number, clock: () => number, tally: Tally): Pace {
  const { requests = Number.POSITIVE_INFINITY, rate, threads, answerTimeout } = plan;
  const limit = Number.isFinite(requests) ? share(requests, threads, index) : requests;
  if (rate === undefined) return new ClosedLoop(clock, limit);
  const interval = 1_000 / rate;
  return new OpenLoop(clock, {
    interval: interval * threads,
    offset: interval * index,
    limit,
    patience: answerTimeout,
    notSent: () => tally.notSent(),
  });
}

function share(total: number, parts: number, index: number): number {
  return Math.floor(total / parts) + (index < total % parts ? 1 : 0);
}
