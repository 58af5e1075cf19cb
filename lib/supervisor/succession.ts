// One worker after another in a slot: by a handover, by overlap where they know nothing of it; or by leaving, to others.

import { HandoverError } from '../errors.js';
import { closeFd, socketpair } from '../fd/index.js';
import { openPidfd } from '../fd/pidfd.js';
import type { Exit } from '../platform/env.js';
import { settlesWithin } from '../protocol/deadline.js';
import { isPeerLost, type Params } from '../protocol/rpc.js';
import type { Deadline } from './pace.js';
import type { Worker } from './worker.js';

/** Starts the successor; the channel is borrowed, its end of the way to its predecessor. */
export type Spawn = (channel?: number) => Promise<Worker>;

export interface SuccessionOptions {
  readonly deadline: Deadline;
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
}

export interface Succession {
  readonly successor: Worker;
  /** For whoever asked. */
  readonly outcome: Params;
}

/** From the end of the link to a process to the news of its end. */
const EXIT_GRACE = 2_000;

/** Predecessor and successor are joined by a socketpair, and do the rest among themselves. @throws the former one serves on */
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

/** Owns `channel`, the former worker's end. Resolves when the successor is in charge. */
async function join(former: Worker, successor: Worker, channel: number): Promise<Params> {
  // Its pid is known then, also behind a wrapper.
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

/** The former one counts and writes down how its handovers end: this one by a channel at whose other end is nobody. */
async function tellOf({ pid }: Worker, former: Worker): Promise<void> {
  const [dead, gone] = socketpair();
  closeFd(gone);
  // It fails there, too, and of that nobody here has to hear.
  const told = former.link.call('giveWay', { pid }, Int32Array.of(dead)).catch(() => {});
  await settlesWithin(told, EXIT_GRACE);
}

/** The former one died, or hung, in the middle of it: the successor may be in charge by that. */
async function hasTakenOver(former: Worker, successor: Worker, error: unknown, deadline: Deadline): Promise<boolean> {
  if (isPeerLost(error) && (await settlesWithin(former.exited, EXIT_GRACE))) {
    // Also where it has ended since: that is what went wrong then, and not that the former one is gone.
    const serves = successor.inCharge.promise.then(() => true);
    const ends = successor.exited.then(() => false);
    return deadline.cuts(Promise.race([serves, ends])).catch(() => false);
  }
  return deadline.isOver && successor.state === 'in-charge';
}

/** What is asked of whoever has the workers. */
export interface LeaveHost {
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  report(line: string): void;
}

/**
 * Workers that know nothing of handovers, as far as anybody knows: both accept for a while, then the former is told to end.
 * Of one that only loaded for long its link has told by then what it is: it may be in charge, and the successor accepts and
 * waits for that. Its charge and its connections go to the successor. One that has not spoken yet gets no listener any more,
 * and so has accepted nothing.
 */
export async function overlap(
  former: Worker,
  spawn: Spawn,
  serves: (worker: Worker) => Promise<void>,
  { deadline, host }: { readonly deadline: Deadline; readonly host: LeaveHost },
): Promise<Succession> {
  const successor = await spawn();
  // The charge is free when the former one leaves, and not before.
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
 * Ends a worker beside others that serve: they get its connections, where it and they know what that is; what cannot move
 * drains. False: it had to be killed.
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

/** Has a worker give its connections to others. Resolves when that has begun. @throws it must be ended otherwise */
async function giveTo(worker: Worker, heirs: readonly Worker[]): Promise<void> {
  const pairs = heirs.map((heir) => ({ heir, pair: socketpair() }));
  // An heir that cannot closes its end, and the one that leaves keeps what it had for it.
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
