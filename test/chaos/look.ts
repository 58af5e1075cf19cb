// Looks at a world: waits until nothing is under way in it, asks every process what it is, and who answers.

import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { processStat } from '../../lib/fd/proc.js';
import type { Status } from '../../lib/protocol/control-commands.js';
import { signal } from '../helpers/processes.js';
import { now } from './crowd.js';
import type { Quiet, Seen } from './judge.js';
import type { Stage } from './stage.js';

/** Longer than all the library waits for: readyTimeout, then a whole drainTimeout. */
const SETTLE_TIMEOUT = 45_000;
/** Two that are in charge for so long, and nothing under way, will be so for ever. */
const SPLIT_AFTER = 12_000;
const ANSWER_TIMEOUT = 5_000;
const CONNECTIONS = 16;
const LOOKS = 10;
/** For so long nothing may be under way: one thing can follow another. */
const QUIET = 400;

type Known = readonly { readonly pid: number; readonly state: string }[];

/** Looks until nothing has begun meanwhile; `quiet` is undefined when nobody is left, `late` tells what does not end. */
export async function lookWhenQuiet(
  stage: Stage,
  version?: number,
): Promise<{ readonly late?: string | undefined; readonly quiet?: Quiet | undefined }> {
  for (let i = 0; ; i++) {
    const late = await settled(stage);
    const before = marks(stage);
    if (stage.living.length === 0) return { late };
    const quiet = await look(stage, version);
    // What was asked for before may begin only now.
    if (late !== undefined || i === LOOKS || (before === marks(stage) && (await underWay(stage)) === undefined))
      return { late, quiet };
  }
}

/** Every process, and what each is. */
function marks({ cast, living }: Stage): string {
  const members = cast.living.map(({ pid, part, isClosing }) => `${pid} ${part} ${isClosing}`);
  return [...members, ...living.map(({ pid }) => pid)].join();
}

/** Resolves when nothing is under way; with what still is, when it does not end. */
async function settled(stage: Stage): Promise<string | undefined> {
  await stage.continued();
  const begun = now();
  let splitSince: number | undefined;
  let quietSince: number | undefined;
  for (;;) {
    const what = await underWay(stage);
    const at = now();
    quietSince = what === undefined ? (quietSince ?? at) : undefined;
    if (quietSince !== undefined && at - quietSince >= QUIET) return undefined;
    splitSince = isSplit(stage) ? (splitSince ?? at) : undefined;
    const isOver = at - begun > SETTLE_TIMEOUT || (splitSince !== undefined && at - splitSince > SPLIT_AFTER);
    if (isOver && what !== undefined) return `nothing is settled after ${Math.round((at - begun) / 1000)} s: ${what}`;
    await pause(100);
  }
}

function isSplit(stage: Stage): boolean {
  const { cast } = stage;
  const inCharge = cast.having('in-charge').filter(({ isClosing }) => !isClosing);
  const slots = new Set(inCharge.map(({ slot }) => slot));
  return inCharge.length > slots.size && inCharge.length === cast.living.length;
}

async function underWay(stage: Stage): Promise<string | undefined> {
  const { cast } = stage;
  const members = cast.living;
  const processes = stage.living.filter(({ pid }) => pid !== stage.supervisor?.pid);
  const silent = processes.filter(({ pid }) => !members.some((member) => member.pid === pid));
  if (silent.length > 0) return `${silent.map(({ pid }) => pid).join(', ')} say nothing`;
  const moving = members.filter(
    ({ part, isPrepared, isClosing }) => isClosing || part === 'draining' || (part === 'candidate' && !isPrepared),
  );
  const describe = (): string => members.map(({ pid, part, slot }) => `${pid} ${part} (slot ${slot})`).join(', ');
  if (moving.length > 0) return describe();
  if (!stage.isSupervised || !stage.supervisor) return isSplit(stage) ? describe() : undefined;
  const { phase, workers } = await supervisorStatus(stage);
  const isKnown = members.length === workers.length && workers.every(({ state }) => state === 'in-charge');
  const isAtRest = ['serving', 'paused'].includes(phase) && isKnown && members.length > 0 && !isSplit(stage);
  return isAtRest ? undefined : `the supervisor is ${phase}, knows ${JSON.stringify(workers)}; ${describe()}`;
}

async function supervisorStatus(stage: Stage): Promise<{ phase: string; workers: Known }> {
  try {
    const { phase, workers } = (await stage.call('status')) as unknown as Status;
    return { phase, workers: (workers ?? []).map(({ pid, phase: state }) => ({ pid, state })) };
  } catch (error) {
    return { phase: `silent (${error instanceof Error ? error.message : String(error)})`, workers: [] };
  }
}

/** What is so now. */
async function look(stage: Stage, version?: number): Promise<Quiet> {
  const seen = await Promise.all(
    stage.cast.living.map(async (member): Promise<Seen> => {
      const { pid, slot, version: release, part, isPrepared, hasDuty } = member;
      const state = await stateOf(stage, pid);
      const own = { isInCharge: state?.isInCharge, isClosing: state?.isClosing ?? false };
      return { pid, slot, version: release, ...own, hasDuty, isStandby: isPrepared && part === 'candidate' };
    }),
  );
  const known = stage.isSupervised ? (await supervisorStatus(stage)).workers : undefined;
  const slots = stage.isSupervised ? stage.leastSlots : 1;
  const answers = new Map<number, number>();
  for (let i = 0; i < CONNECTIONS * slots; i += CONNECTIONS) {
    const pids = await Promise.all(Array.from({ length: CONNECTIONS }, () => whoAnswers(stage.port)));
    for (const pid of pids) answers.set(pid, (answers.get(pid) ?? 0) + 1);
  }
  return { seen, answers, known, slots, version };
}

type State = { readonly isInCharge: boolean; readonly isClosing: boolean };

async function stateOf(stage: Stage, pid: number): Promise<State | undefined> {
  const asked = now();
  const id = stage.cast.members.get(pid)?.id;
  if (!id || !signal(id, 'SIGWINCH')) return undefined;
  const answer = stage.log.when((said) => said.pid === pid && said.event === 'state' && said.at >= asked);
  const said = await Promise.race([answer, pause(ANSWER_TIMEOUT, undefined, { ref: false })]);
  return said as State | undefined;
}

let looks = 0;

/** The pid of the process that answers a new connection; 0: none does. */
async function whoAnswers(port: number): Promise<number> {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(ANSWER_TIMEOUT * 2, () => socket.destroy(new Error('no answer')));
  socket.write(`GET /look-${looks++} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  let text = '';
  try {
    for await (const chunk of socket) text += chunk;
  } catch {
    return 0;
  }
  return Number(text.split('\r\n\r\n')[1]?.split(' ')[0] ?? 0);
}

/** Children that have ended and that none of these processes has waited for. */
export function zombiesOf(parents: readonly number[]): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isZombieOf(pid, parents));
}

function isZombieOf(pid: number, parents: readonly number[]): boolean {
  const stat = processStat(pid);
  return stat?.state === 'Z' && parents.includes(stat.parent);
}
