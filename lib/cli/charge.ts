// Finds the process in charge from what the kernel says: which processes hold the arbiter's file, and which bytes each has
// locked.

import { holdersOf } from '../fd/holders.js';
import { type Locker, lockers } from '../fd/lockers.js';
import type { ChargeStatus } from '../protocol/control-commands.js';
import type { Finding } from './checks.js';
import type { Machine } from './machine.js';

type Shareholders = Required<Pick<ChargeStatus, 'inCharge' | 'mayTakeBack' | 'others'>>;

/** The pids of the processes that have the arbiter's file open, by the bytes that each has locked. */
export function shareholdersOf(seen: readonly Locker[], inode: string): Shareholders {
  const all = seen.filter((locker) => locker.inode === inode);
  const pidsOf = (isOne: (locker: Locker) => boolean): number[] => [
    ...new Set(all.filter(isOne).map(({ pid }) => pid)),
  ];
  const inCharge = pidsOf(({ range }) => range?.isOpenEnded === true);
  const mayTakeBack = pidsOf(({ range }) => range?.isOpenEnded === false);
  const others = pidsOf(({ range }) => range === undefined);
  return { inCharge, mayTakeBack, others: others.filter((pid) => ![...inCharge, ...mayTakeBack].includes(pid)) };
}

/** Describes the state of a charge in words. */
export function describeCharge({ holder, inCharge = [], mayTakeBack = [], others = [] }: ChargeStatus): string {
  const name = (pid: number): string => `pid ${pid}${holder?.pid === pid ? ` (generation ${holder.generation})` : ''}`;
  const parts = [
    inCharge.length > 0 ? `held by ${inCharge.map(name).join(', ')}` : 'held by no process that can be seen',
  ];
  if (mayTakeBack.length > 0) parts.push(`may take it back: ${mayTakeBack.map(name).join(', ')}`);
  if (others.length > 0) parts.push(`no part in it: ${others.map(name).join(', ')}`);
  return parts.join('; ');
}

/** For each charge: its state, and whether a process of another arbiter is in charge of the same listeners. */
export function chargeFindings(machine: Machine): Finding[] {
  const { charges = [], listeners } = machine.status ?? { listeners: [] };
  const proc = machine.path('proc');
  const seen = charges.length > 0 ? lockers(proc) : [];
  const own = new Set(charges.map(({ inode }) => inode));
  const holders = new Set(
    [
      ...holdersOf(
        listeners.map(({ inode }) => inode),
        proc,
      ).values(),
    ].flat(),
  );
  const beside = seen.filter(({ pid, inode, range }) => range?.isOpenEnded && !own.has(inode) && holders.has(pid));
  return charges.map((charge) => {
    const name = charge.slot === undefined ? 'in charge' : `in charge of slot ${charge.slot}`;
    const value = describeCharge({ ...charge, ...shareholdersOf(seen, charge.inode) });
    if (beside.length === 0) return { name, severity: 'ok', value };
    const pids = [...new Set(beside.map(({ pid }) => pid))];
    return {
      name,
      severity: 'fail',
      value,
      wrong: `pid ${pids.join(', ')} is in charge of the same listeners, by another arbiter`,
      why: 'both processes serve, an upgrade reaches only one of them, and clients are answered by two releases',
      fix: `kill -TERM ${pids.join(' ')}`,
    };
  });
}
