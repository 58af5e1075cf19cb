// How one worker of a slot succeeds another: by a handover, or by overlap where they know none. And how a worker leaves its
// connections to others.

import { HandoverError } from '../errors.js';
import { closeFd, socketpair } from '../fd/index.js';
import { openPidfd } from '../fd/pidfd.js';
import type { Exit } from '../platform/env.js';
import { settlesWithin } from '../protocol/deadline.js';
import { isPeerLost, type Params } from '../protocol/rpc.js';
import type { Deadline } from './pace.js';
import type { Worker } from './worker.js';

/** Starts the successor; `channel`, its end of the socketpair to its predecessor, is borrowed. */
export type Spawn = (channel?: number) => Promise<Worker>;

export interface SuccessionOptions {
  readonly deadline: Deadline;
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
}

export interface Succession {
  readonly successor: Worker;
  /** Answer to the request for the replacement. */
  readonly outcome: Params;
}

/** Milliseconds from the end of a process' link to the news of its exit. */
const EXIT_GRACE = 2_000;

/** Joins predecessor and successor by a socketpair; the two do the rest. @throws HandoverError the predecessor serves on */
export async function handOver(
  former: Worker,
  spawn: Spawn,
  { deadline, stopTimeout }: SuccessionOptions,
): Promise<Succession> {
  const [left, right] = socketpair();
  const successor = await spawnJoined(spawn, right, left);
  try {
    const outcome = await deadline.cuts(join(former, successor, left));
    await Promise.race([successor.inCharge.promise, successor.exited]);
    return { successor, outcome };
  } catch (error) {
    if (await hasTakenOver(former, successor, error, deadline)) {
      return { successor, outcome: { pid: successor.pid, generation: successor.generation } };
    }
    await successor.stop(deadline.isOver ? 0 : stopTimeout);
    throw error;
  }
}

async function spawnJoined(spawn: Spawn, channel: number, other: number): Promise<Worker> {
  try {
    return await spawn(channel);
  } catch (error) {
    closeFd(other);
    throw error;
  } finally {
    closeFd(channel);
  }
}

/** Owns `channel`, the predecessor's end. Resolves when the successor is in charge. */
async function join(former: Worker, successor: Worker, channel: number): Promise<Params> {
  // The greeting tells the server's pid, also behind a wrapper.
  await Promise.race([successor.greeted.promise, successor.exited]);
  if (successor.hasEnded) {
    closeFd(channel);
    await tellOf(successor, former);
    throwEarlyEnd(successor, await successor.exited);
  }
  const way = successor.wayTo(channel);
  const pidfd = openPidfd(successor.pid);
  const fds = Int32Array.from(pidfd === undefined ? [way] : [way, pidfd]);
  const { params } = await former.link.call('giveWay', { pid: successor.pid }, fds);
  return params;
}

/**
 * Lets the predecessor, which counts and logs its handovers, record that this one failed: it gets a channel whose other end is
 * closed.
 */
async function tellOf({ pid }: Worker, former: Worker): Promise<void> {
  const [dead, gone] = socketpair();
  closeFd(gone);
  // The call always fails; the caller throws the error that counts.
  const told = former.link.call('giveWay', { pid }, Int32Array.of(dead)).catch(() => {});
  await settlesWithin(told, EXIT_GRACE);
}

/** Whether the successor took charge although the predecessor died or hung during the handover. */
async function hasTakenOver(former: Worker, successor: Worker, error: unknown, deadline: Deadline): Promise<boolean> {
  if (isPeerLost(error) && (await settlesWithin(former.exited, EXIT_GRACE))) {
    // A successor that ends, too, is the failure to report, not the predecessor's end.
    const serves = successor.inCharge.promise.then(() => true);
    const ends = successor.exited.then(() => false);
    return deadline.cuts(Promise.race([serves, ends])).catch(() => false);
  }
  return deadline.isOver && successor.state === 'in-charge';
}

/** What `leave` and `overlap` need of the slot's host. */
export interface LeaveHost {
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  report(line: string): void;
}

/**
 * Replaces a worker that has not said that it knows handovers: both workers accept for a while, then the former is told to end.
 * A former worker that only loaded for long may have greeted and be in charge meanwhile: the successor then accepts, waits for
 * the charge, and gets it with the connections. A former worker that is still silent gets no listener any more, so it has
 * accepted nothing.
 */
export async function overlap(
  former: Worker,
  spawn: Spawn,
  serves: (worker: Worker) => Promise<void>,
  { deadline, host }: { readonly deadline: Deadline; readonly host: LeaveHost },
): Promise<Succession> {
  const successor = await spawn();
  // The charge is free only when the former worker leaves.
  const waits = Promise.all([former.inCharge.promise, successor.asksForCharge.promise]).then(() => true);
  let isWaiting: boolean;
  try {
    isWaiting = await deadline.cuts(Promise.race([serves(successor).then(() => false), waits]));
  } catch (error) {
    await successor.stop(deadline.isOver ? 0 : host.stopTimeout);
    throw error;
  }
  former.hasLeft = true;
  former.state = 'superseded';
  void leave(former, [successor], host);
  if (isWaiting) await Promise.race([successor.inCharge.promise, successor.exited]);
  return { successor, outcome: { pid: successor.pid, generation: successor.generation } };
}

export function canReceive({ isAware, hasEnded }: Worker): boolean {
  return isAware && !hasEnded;
}

/**
 * Ends a worker beside others that serve. Workers that know handovers take its connections over; connections that cannot
 * migrate drain. False: the worker had to be killed.
 */
export async function leave(worker: Worker, others: readonly Worker[], host: LeaveHost): Promise<boolean> {
  const { stopTimeout } = host;
  const heirs = others.filter(canReceive);
  if (!worker.isAware || heirs.length === 0) return worker.stop(stopTimeout);
  const ends = giveTo(worker, heirs).then(() => worker.exited);
  await settlesWithin(ends, stopTimeout).catch((error: Error) =>
    host.report(`worker ${worker.index} drains: ${error.message}`),
  );
  return worker.stop(stopTimeout);
}

/** Has a worker give its connections to others. Resolves when that has begun. @throws the worker must be stopped instead */
async function giveTo(worker: Worker, heirs: readonly Worker[]): Promise<void> {
  const pairs = heirs.map((heir) => ({ heir, pair: socketpair() }));
  // An heir that cannot receive closes its end, and the leaving worker keeps the connections meant for it.
  for (const { heir, pair } of pairs) heir.link.call('receive', {}, Int32Array.of(pair[1])).catch(() => {});
  await worker.link.call(
    'leaveTo',
    {},
    Int32Array.from(pairs, ({ pair }) => pair[0]),
  );
}

/** @throws ERR_HANDOVER_SUCCESSOR_EXITED */
export function throwEarlyEnd({ index, pid }: Worker, exit: Exit): never {
  const message = `worker ${index} (pid ${pid}) ended with ${describeExit(exit)} before it served`;
  const { code: exitCode, signal: exitSignal } = exit;
  throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, {
    phase: 'PREPARE',
    exitCode,
    exitSignal,
    stillServing: true,
  });
}

export function describeExit({ code, signal }: Exit): string {
  if (code === null && signal === null) return 'an end that no wrapper was left to tell';
  return signal === null ? `exit code ${code}` : signal;
}
