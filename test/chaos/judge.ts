// What each failure of a client is: excused, because the schedule killed or ended the process that owned its connection,
// or a loss. And what must be so when nothing is under way any more.
import type { Failure } from '../faults/client.js';

/** A process that the schedule killed, stopped or told to end, and what it owned at that instant. */
export interface Blow {
  readonly what: 'killed' | 'stopped' | 'told to end';
  readonly pid: number;
  readonly at: number;
  /** The clients' ports of the connections that it alone had, or that nobody could accept any more. */
  readonly ports: ReadonlySet<number>;
}

/** Nobody was left who could have served; `to` is undefined while it lasts. */
export interface Outage {
  readonly from: number;
  to: number | undefined;
}

export interface Evidence {
  readonly blows: readonly Blow[];
  readonly outages: readonly Outage[];
  /** Whether a server said that it began this request. */
  readonly hasBegun: (id: string) => boolean;
  /** By whose words they accepted the connection of this failure. */
  readonly acceptedBy: (failure: Failure) => readonly number[];
  /** The process that, by the lines of all, alone had the connection when it died. */
  readonly diedWith: (failure: Failure) => number | undefined;
  /** Processes that never were in charge, and have ended: what they had accepted on probation they end politely. */
  readonly hasFailed: (pid: number) => boolean;
  /**
   * Drains, and its successor was killed while another generation is in charge: there is nobody to whom its connections could
   * move, and it ends them politely.
   */
  readonly isStranded: (pid: number, at: number) => boolean;
  /** Killed by others for what the schedule made of it: stopped, or of a bad release. */
  readonly isBlamed: (pid: number) => boolean;
}

/** Milliseconds that a line or an event of a socket may come late. */
const LATE = 100;

/** Why a failure is no loss; undefined: it is one. */
export function excuse(failure: Failure, evidence: Evidence): string | undefined {
  const { kind } = failure;
  if (kind === 'twice' || kind === 'wrong') return undefined;
  return (
    ownedByTheKilled(failure, evidence) ??
    inAnOutage(failure, evidence) ??
    endedPolitely(failure, evidence) ??
    endedByTheStranded(failure, evidence) ??
    diedWithTheBlamed(failure, evidence)
  );
}

function ownedByTheKilled({ kind, port, opened, at }: Failure, { blows }: Evidence): string | undefined {
  const blow = blows.find(
    (each) =>
      each.what === 'killed' &&
      opened <= each.at + LATE &&
      at >= each.at - LATE &&
      // A Unix client has no name; but nobody may be refused.
      (port === undefined ? kind !== 'refused' : each.ports.has(port)),
  );
  return blow && `owned by ${blow.pid}, killed`;
}

function inAnOutage(failure: Failure, { outages, hasBegun }: Evidence): string | undefined {
  const { kind, opened, at, id } = failure;
  const outage = outages.find(({ from, to }) => at >= from - LATE && opened <= (to ?? Number.POSITIVE_INFINITY) + LATE);
  if (!outage || (kind !== 'refused' && hasBegun(id))) return undefined;
  return 'nobody was left';
}

/** An idle connection may be closed by a process that ends, a request that it has begun must be answered. */
function endedPolitely(failure: Failure, evidence: Evidence): string | undefined {
  const { kind, port, opened, at, id, isPolite } = failure;
  if (kind === 'refused' || (!isPolite && evidence.hasBegun(id))) return undefined;
  const acceptors = evidence.acceptedBy(failure);
  const told = evidence.blows.find(
    (blow) =>
      blow.what === 'told to end' &&
      at >= blow.at - LATE &&
      (port === undefined || acceptors.includes(blow.pid) || (blow.ports.has(port) && opened <= blow.at + LATE)),
  );
  if (told) return `of ${told.pid}, told to end`;
  const failed = acceptors.find((pid) => evidence.hasFailed(pid));
  return failed === undefined ? undefined : `accepted by ${failed}, which never was in charge`;
}

function endedByTheStranded(failure: Failure, evidence: Evidence): string | undefined {
  const { kind, at, detail, isPolite } = failure;
  if (kind !== 'lost' || !isPolite) return undefined;
  const [, teller] = /^told to close by (\d+)$/.exec(detail) ?? [];
  const pids = teller === undefined ? evidence.acceptedBy(failure) : [Number(teller)];
  const stranded = pids.find((pid) => evidence.isStranded(pid, at));
  return stranded === undefined ? undefined : `of ${stranded}, which drains, and whose successor was killed`;
}

function diedWithTheBlamed(failure: Failure, evidence: Evidence): string | undefined {
  if (failure.kind === 'refused') return undefined;
  const { port, opened, at } = failure;
  const pid = evidence.diedWith(failure);
  if (pid !== undefined && evidence.isBlamed(pid)) return `owned by ${pid}, killed by others`;
  const stopped = evidence.blows.find(
    (blow) =>
      blow.what === 'stopped' &&
      evidence.isBlamed(blow.pid) &&
      at >= blow.at &&
      (port === undefined || (blow.ports.has(port) && opened <= blow.at + LATE)),
  );
  return stopped && `owned by ${stopped.pid}, stopped, and killed by others`;
}

/** What is seen of one process when nothing is under way any more. */
export interface Seen {
  readonly pid: number;
  readonly slot: number;
  readonly version: number;
  /** By its own answer; undefined: it gave none. */
  readonly isInCharge: boolean | undefined;
  readonly isClosing: boolean;
  /** Whether the work of the one in charge runs there. */
  readonly hasDuty: boolean;
  readonly isStandby: boolean;
}

export interface Quiet {
  readonly seen: readonly Seen[];
  /** By process: answers to connections that were opened now. */
  readonly answers: ReadonlyMap<number, number>;
  /** What the supervisor knows, where there is one. */
  readonly known?: readonly { readonly pid: number; readonly state: string }[] | undefined;
  /** Slots that the supervisor has at least; 1 without. */
  readonly slots: number;
  /** The release every answer must come from, where one has just been rolled out. */
  readonly version?: number | undefined;
}

export interface Verdict {
  readonly splits: readonly string[];
  readonly wrong: readonly string[];
}

/** Exactly one in charge of each slot, known to all, and nobody else answers. */
export function judgeQuiet({ seen, answers, known, slots, version }: Quiet): Verdict {
  const splits: string[] = [];
  const wrong: string[] = [];
  const numbers = new Set([...seen.map(({ slot }) => slot), ...Array.from({ length: slots }, (_, i) => i)]);
  for (const slot of numbers) {
    const own = seen.filter((each) => each.slot === slot && !each.isStandby);
    const inCharge = own.filter((each) => each.isInCharge);
    const where = known === undefined ? '' : ` of slot ${slot}`;
    if (inCharge.length > 1) splits.push(`${list(inCharge)} are in charge${where}`);
    if (inCharge.length === 0) wrong.push(`nobody is in charge${where}`);
    for (const { pid, isInCharge, isClosing, hasDuty } of own) {
      if (isInCharge === undefined) wrong.push(`${pid} says nothing`);
      if (isInCharge && isClosing) wrong.push(`${pid} is in charge and closing`);
      if (isInCharge === false) wrong.push(`${pid} lives and is not in charge`);
      if (isInCharge !== undefined && isInCharge !== hasDuty)
        wrong.push(`${pid} is ${isInCharge ? '' : 'not '}in charge, its duty ${hasDuty ? 'runs' : 'does not run'}`);
    }
  }
  for (const [pid, count] of answers) {
    const who = seen.find((each) => each.pid === pid);
    if (!who?.isInCharge) splits.push(`${pid} is not in charge, and gave ${count} answers`);
    else if (version !== undefined && who.version !== version)
      wrong.push(`${pid} gave ${count} answers of release ${who.version} instead of ${version}`);
  }
  if (known !== undefined) splits.push(...strangers(seen, known));
  return { splits, wrong };
}

/** Every living worker is known to the supervisor, and each it knows lives. */
function strangers(seen: readonly Seen[], known: NonNullable<Quiet['known']>): string[] {
  return [
    ...seen
      .filter(({ pid }) => !known.some((each) => each.pid === pid))
      .map(({ pid }) => `worker ${pid} is unknown to the supervisor`),
    ...known
      .filter(({ pid }) => !seen.some((each) => each.pid === pid))
      .map(({ pid, state }) => `the supervisor's worker ${pid} (${state}) does not live`),
  ];
}

function list(seen: readonly Seen[]): string {
  return seen.map(({ pid }) => pid).join(' and ');
}

/** How a process ended. */
export interface Ended {
  readonly pid: number;
  readonly wasInCharge: boolean;
  readonly exitCode: number | undefined;
  /** The schedule, or its release, may be why. */
  readonly mayHaveDied: boolean;
  readonly isGivenUp: boolean;
}

/** A sentence where that is not as it must be. */
export function judgeEnd({ pid, wasInCharge, exitCode, mayHaveDied, isGivenUp }: Ended): string[] {
  if (exitCode === undefined) return mayHaveDied || isGivenUp ? [] : [`${pid} ended without a word`];
  if (exitCode === 0 || mayHaveDied) return [];
  // A successor that did not come in charge says so by 1.
  return exitCode === 1 && (!wasInCharge || isGivenUp) ? [] : [`${pid} ended with ${exitCode}`];
}
