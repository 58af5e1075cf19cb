// The drain of a process: open connections end or migrate. A successor may still fail meanwhile, and this process recalls.
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
 * Milliseconds after the last request that was answered, or connection that migrated, before the app is told to end. An app
 * that then destroys its sockets, as Vite's preview does, would close connections that migrate as soon as they are answered.
 */
const REQUEST_GRACE = 1_000;

/** The process that drains, and its limits. */
export interface Retiring {
  readonly generation: number;
  readonly servers: Servers;
  readonly duties: AppDuties;
  readonly clock: Clock;
  /** Milliseconds for the whole drain. */
  readonly timeout: number;
  /** Milliseconds without a byte after which a busy connection is cut earlier; 0: never. */
  readonly idleTimeout: number;
  /** Milliseconds, from the beginning, in which WebSockets that do not migrate are closed. */
  readonly spread: number;
}

/** What a drain beside a successor needs in addition. */
export interface Beside {
  readonly outgoing: OutgoingHandover;
  /** Whether connections may migrate (option `migrate`). */
  readonly moves: boolean;
  /** The link of this process to its predecessor; undefined without one. */
  readonly incoming: Pick<IncomingHandover, 'alone' | 'relay'> | undefined;
  /** Tells the successor how many connections are left. */
  readonly report: () => void;
}

/**
 * Drains without a successor. `give` begins to migrate connections to other workers, and returns the function that ends
 * that and resolves with their number.
 */
export async function drain(retiring: Retiring, give?: () => () => Promise<number>): Promise<void> {
  const { generation, duties } = retiring;
  duties.beginDrain();
  const stopGiving = give?.();
  const ended = await endConnections(retiring, { moves: give !== undefined, older: undefined });
  const fates = fatesOf((await stopGiving?.()) ?? 0, ended);
  publish('drained', { handoverId: undefined, generation, ...fates, ...lastOf(ended) });
}

/**
 * Migrates and drains connections beside a successor in charge, then sends it RETIRE.
 * @returns undefined once retired; the error if the successor failed and this process took everything back, or another
 *    generation took charge (`outgoing.isRelieved`)
 */
export async function retireOrRecall(retiring: Retiring, beside: Beside): Promise<unknown> {
  const { generation, servers, duties, clock } = retiring;
  const { outgoing, report } = beside;
  // An older generation that still drains would take the end of this process for a failure, and take everything back.
  const { alone: older, relay = new OutcomeRelay() } = beside.incoming ?? {};
  const { record } = outgoing;
  publish('superseded', { handoverId: record.id, generation, successorPid: outgoing.successorPid });
  const recalled = new AbortController();
  const stopReporting = beatEvery(clock, REPORT_INTERVAL, report);
  const moves = beside.moves && outgoing.canMove;
  const endApp = async (ended: Promise<unknown>): Promise<void> => {
    await endsOrStalls(ended, retiring);
    if (!recalled.signal.aborted) duties.beginDrain();
  };
  const answered = new Deferred<void>();
  let isSettled = false;
  // The connections that can migrate at once have: an app that then closes idle connections, as many do, closes none of
  // these.
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
    // Stopping the successor may take time: connections that were not offered go on here at once.
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

/**
 * Resolves when the drain has ended, when none of its connections has for REQUEST_GRACE, or in the middle of its time: a busy
 * machine answers late, and an app that is never told to end does not end its long polls.
 */
async function endsOrStalls(ended: Promise<unknown>, { servers, clock, timeout }: Retiring): Promise<void> {
  const last = clock.now() + timeout / 2;
  for (let before = Number.POSITIVE_INFINITY; servers.connectionCount < before && clock.now() < last; ) {
    before = servers.connectionCount;
    if (await settlesWithin(ended, Math.min(REQUEST_GRACE, last - clock.now()), clock)) return;
  }
}

/**
 * Drains the connections, then waits for the app's work and the older generations, then drains what these have migrated
 * here.
 */
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
  // An older generation may have migrated its last connections here meanwhile.
  if (servers.connectionCount > 0 && result.cut === 0 && !recalled?.aborted) result = await drainAll();
  return { ...result, before, durationMs: elapsed() };
}

interface Ending {
  readonly moves: boolean;
  /** Settles when the predecessor, and so every older generation, has ended. */
  readonly older: Promise<void> | undefined;
  readonly recalled?: AbortSignal;
}

interface Ended extends DrainResult {
  readonly durationMs: number;
  /** Open connections when the drain began. */
  readonly before: number;
}

/** Never negative: connections that were accepted from the queue during the drain are not in `before`. */
function fatesOf(moved: number, { before, cut }: Ended): Fates {
  return { moved, cut, ended: Math.max(0, before - moved - cut) };
}

function lastOf({ cutConnections, durationMs }: Ended): Pick<Ended, 'cutConnections' | 'durationMs'> {
  return { cutConnections, durationMs };
}

/**
 * Migrates connections to the successor, now and as more become idle. The returned function ends that, and returns the
 * number of connections that the successor has.
 */
function startMoving(outgoing: OutgoingHandover, servers: Servers, settle: () => void): () => number {
  const offering = outgoing.moving.start(() => servers.movable(), settle);
  const stopWatching = servers.whenMovable(() => offering.sweepSoon());
  offering.sweepSoon();
  return () => {
    stopWatching();
    return offering.moved;
  };
}
