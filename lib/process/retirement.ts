// The last part of a process: it serves what is open to its end, and if it has a successor, that may still fail.
import { publish } from '../events.js';
import { type Fates, OutcomeRelay } from '../handover/handover-record.js';
import { beatEvery, REPORT_INTERVAL } from '../handover/heartbeat.js';
import type { IncomingHandover } from '../handover/incoming.js';
import type { OutgoingHandover } from '../handover/outgoing.js';
import type { Clock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { Deferred } from '../protocol/deferred.js';
import type { DrainResult, Servers } from '../transfer/servers.js';
import type { AppDuties } from './app-duties.js';

/**
 * Milliseconds for requests under way before the app is told to end: an app that then destroys its sockets, as Vite's preview
 * does, would close connections that move as soon as they are answered.
 */
const REQUEST_GRACE = 1_000;

/** The process that ends. */
export interface Retiring {
  readonly generation: number;
  readonly servers: Servers;
  readonly duties: AppDuties;
  readonly clock: Clock;
  /** Milliseconds for all of it. */
  readonly timeout: number;
  /** Milliseconds without a byte that end a busy connection before that; 0: none. */
  readonly idleTimeout: number;
  /** Of which WebSockets that stay are closed in so many, at the beginning. */
  readonly spread: number;
}

/** What is different beside a successor. */
export interface Beside {
  readonly outgoing: OutgoingHandover;
  /** Connections that can move do. */
  readonly moves: boolean;
  /** This process as the successor of an older one, where there was any. */
  readonly incoming: Pick<IncomingHandover, 'alone' | 'relay'> | undefined;
  /** Tells the successor what is left. */
  readonly report: () => void;
}

/** Ends what is open, with no successor to take it over; `give` starts to move it to others, and returns what ends that. */
export async function drain(retiring: Retiring, give?: () => () => Promise<number>): Promise<void> {
  const { generation, duties } = retiring;
  duties.beginDrain();
  const stopGiving = give?.();
  const ended = await endConnections(retiring, { moves: give !== undefined, older: undefined });
  const fates = fatesOf((await stopGiving?.()) ?? 0, ended);
  publish('drained', { handoverId: undefined, generation, ...fates, ...lastOf(ended) });
}

/**
 * Moves and drains beside a successor in charge, and says the last word to it.
 * @returns undefined once retired; the error when the successor failed and everything was taken back
 */
export async function retireOrRecall(retiring: Retiring, beside: Beside): Promise<unknown> {
  const { generation, servers, duties, clock } = retiring;
  const { outgoing, report } = beside;
  // A generation that still drains would take this one's end for a failure, and everything back.
  const { alone: older, relay = new OutcomeRelay() } = beside.incoming ?? {};
  const { record } = outgoing;
  publish('superseded', { handoverId: record.id, generation, successorPid: outgoing.successorPid });
  const recalled = new AbortController();
  const stopReporting = beatEvery(clock, REPORT_INTERVAL, report);
  const moves = beside.moves && outgoing.canMove;
  const endApp = async (ended: Promise<unknown>): Promise<void> => {
    await settlesWithin(ended, REQUEST_GRACE, clock);
    if (!recalled.signal.aborted) duties.beginDrain();
  };
  const answered = new Deferred<void>();
  let isSettled = false;
  // What can move at once has: an app that ends what is idle, as many do, ends none of those.
  const settle = (): void => {
    outgoing.settle();
    if (!isSettled) void endApp(answered.promise);
    isSettled = true;
  };
  const stopMoving = moves ? startMoving(outgoing, servers, settle) : () => 0;
  if (!moves) settle();
  try {
    const ended = endConnections(retiring, { moves, older, recalled: recalled.signal });
    const result = await Promise.race([ended, outgoing.failed]);
    answered.resolve();
    outgoing.settle();
    duties.beginDrain();
    const fates = fatesOf(stopMoving(), result);
    record.drained(fates);
    publish('drained', { handoverId: record.id, generation, ...fates, ...lastOf(result) });
    await outgoing.retire(relay.toSay(record));
    record.end('completed');
    return undefined;
  } catch (reason) {
    recalled.abort();
    // Ending the successor may take its time: what was not offered goes on at once.
    stopMoving();
    const failure = await outgoing.giveUp(reason);
    record.recalled(stopMoving());
    record.end('recalled', failure);
    duties.recallDrain();
    return failure;
  } finally {
    answered.resolve();
    stopMoving();
    stopReporting();
  }
}

/** Connections first, then what the app is still at, then the generations before. */
async function endConnections(
  { servers, duties, clock, timeout, idleTimeout, spread }: Retiring,
  { moves, older, recalled }: Ending,
): Promise<Ended> {
  const start = clock.now();
  const before = servers.connectionCount;
  const elapsed = (): number => clock.now() - start;
  const left = (): number => Math.max(0, timeout - elapsed());
  const drainAll = (): Promise<DrainResult> =>
    servers.drainAll({ timeout: left(), idleTimeout, spread, moves, ...(recalled && { recalled }) });
  let result = await drainAll();
  await settlesWithin(Promise.all([duties.worked(), older]), left(), clock);
  // What an older generation still had may have moved here meanwhile.
  if (servers.connectionCount > 0 && result.cut === 0 && !recalled?.aborted) result = await drainAll();
  return { ...result, before, durationMs: elapsed() };
}

interface Ending {
  readonly moves: boolean;
  /** Settles when the generations before are gone. */
  readonly older: Promise<void> | undefined;
  readonly recalled?: AbortSignal;
}

interface Ended extends DrainResult {
  readonly durationMs: number;
  /** Connections there were. */
  readonly before: number;
}

/** Some may have come meanwhile: what waits in a queue is accepted to the last. */
function fatesOf(moved: number, { before, cut }: Ended): Fates {
  return { moved, cut, ended: Math.max(0, before - moved - cut) };
}

function lastOf({ cutConnections, durationMs }: Ended): Pick<Ended, 'cutConnections' | 'durationMs'> {
  return { cutConnections, durationMs };
}

/** At once, and as more becomes idle. The function returned ends that, and says how many the successor has. */
function startMoving(outgoing: OutgoingHandover, servers: Servers, settle: () => void): () => number {
  const offering = outgoing.moving.start(() => servers.movable(), settle);
  const stopWatching = servers.whenMovable(() => offering.sweepSoon());
  offering.sweepSoon();
  return () => {
    stopWatching();
    return offering.moved;
  };
}
