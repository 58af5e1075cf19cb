// Decides which process is in charge where more than two generations are alive, by the kernel's locks on a file in memory that
// travels with the listeners (FACTS K17). Every attempt at a handover has a number, its turn, higher than any before. A
// generation that may serve holds the bytes from its turn up to the next one's; the one in charge holds all from its turn on.
// Therefore:
// - no process is in charge without the open end of the file, and at most one process has that;
// - a draining generation keeps its bytes as long as it may take back, and can take back while no younger one has any;
// - a successor that was never committed has no bytes, and takes charge only where no other generation has any.
// A process that dies loses its locks; a stopped process keeps them.

import { closeFd } from '../fd/index.js';
import { endLockersOf, lockers } from '../fd/lockers.js';
import { hasProcessEnded, processStartTime } from '../fd/pidfd.js';
import { type LockedFile, SharedFile } from '../fd/shared-file.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import type { ChargeStatus } from '../protocol/control-commands.js';
import { sleep } from '../protocol/deadline.js';
import type { Hello } from '../protocol/frames.js';
import type { DescriptorList } from '../protocol/manifest.js';
import { HEIR_PATIENCE } from '../protocol/timeouts.js';
import { RESERVED } from '../resources/ledger.js';

/** Name of the file in a MANIFEST; the address of the entry is the offered turn. */
export const ARBITER: string = `${RESERVED}charge`;

/** The capability in HELLO of a process that uses the arbiter. */
export const ARBITER_CAPABILITY = 'arbiter';

/**
 * The right by which a process claims the charge. `committed`: its predecessor offered it a turn and sent COMMIT. `bereft`:
 * its predecessor died before COMMIT, or it never had one. `recall`: it takes back the charge that it had handed over.
 */
export type Right = 'committed' | 'bereft' | 'recall';

/** The first byte that a claimant must lock, with all that follow. */
export function firstByteOf(right: Right, turn: number, offered: number): number {
  if (right === 'bereft') return 0;
  return right === 'committed' ? turn : offered;
}

/** `open`: the process in charge has died, and no other has taken charge yet. */
export type Verdict = 'obtained' | 'refused' | 'open';

/**
 * `holder`: the identity that signed last. `excused`: identities that are known not to serve any more; undefined where that
 * is for another process to know.
 */
export function verdictOf(isLocked: boolean, holder: string | undefined, excused?: readonly string[]): Verdict {
  if (isLocked) return 'obtained';
  return holder === undefined || excused === undefined || excused.includes(holder) ? 'open' : 'refused';
}

/** The process that signed last, and was in charge then. */
export interface Holder {
  readonly pid: number;
  readonly startTime?: string | undefined;
  readonly generation: number;
  /** The next turn to offer, higher than any before. */
  readonly next: number;
}

/** Tells a process from another one with the same pid, also in another pid namespace. */
export function identityOf({ pid, startTime }: Pick<Hello, 'pid' | 'startTime'>): string {
  return `${pid} since ${startTime}`;
}

const FIRST_WAIT = 5;
const LONGEST_WAIT = 100;
const RECORD_BYTES = 512;

export class Arbiter {
  readonly #clock: Clock;
  /** Undefined if no predecessor gave one and this process is not in charge yet, or if the platform has none. */
  #file: SharedFile | undefined;
  #turn = 0;
  #next = 1;
  /** The turn offered to the successor; this process' own turn if none was offered. */
  #offered = 0;
  #hasResigned = false;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Whether this process has the file. */
  get isThere(): boolean {
    return this.#file !== undefined;
  }

  /** The arbiter's state, for operators. */
  get status(): ChargeStatus | undefined {
    return this.#file && chargeStatus(this.#file);
  }

  /** Takes the file that a predecessor or supervisor passed on, in place of a former one. Owns the descriptor. */
  adopt(fd: number, turn: number): void {
    this.close();
    this.#file = new SharedFile(fd);
    this.#turn = turn;
    this.#next = turn + 1;
    this.#offered = turn;
  }

  /** Creates the file, in the first process of a chain. Without effect where the platform has no such file. */
  found(): void {
    try {
      this.#file = SharedFile.create(ARBITER);
      this.#file.tryLock(0);
    } catch {
      // Without an arbiter two generations agree by their channel; three may not.
      this.close();
    }
  }

  /**
   * Offers a turn to a successor; the list is empty for one that does not know the arbiter (`isKnown`). The descriptor has
   * an open file description, and so locks, of its own. The caller releases the list when it is sent.
   */
  offer(self: Hello, isKnown: boolean): Required<DescriptorList> {
    this.#offered = this.#turn;
    if (!this.#file || !isKnown) return { entries: [], fds: new Int32Array(0), release: () => {} };
    const fd = this.#file.reopen();
    this.#offered = this.#next;
    this.#next += 1;
    this.sign(self);
    const entries = [{ name: ARBITER, kind: 'descriptor' as const, address: String(this.#offered) }];
    return { entries, fds: Int32Array.of(fd), release: () => closeFd(fd) };
  }

  /** At COMMIT, unlocks the open end for the successor. Keeps it if no turn was offered. */
  yield(): void {
    if (this.#offered > this.#turn) this.#file?.unlock(this.#offered);
  }

  /** After COMMIT, locks the offered turn. False: another generation has taken charge meanwhile. */
  take(): boolean {
    return this.#file === undefined || this.#file.tryLock(firstByteOf('committed', this.#turn, this.#offered));
  }

  /**
   * Waits for the charge. False: another generation has taken it, or this process has given the arbiter up meanwhile.
   * @param excused the processes whose death or failure is the reason for the claim, and this process; undefined under a
   *    supervisor, which ends this process when another is in charge
   * @param isImpatient kills a process that holds bytes, and has neither taken charge nor ended, after `HEIR_PATIENCE` ms
   */
  async claim(
    right: Right,
    excused: readonly (Hello | undefined)[] | undefined,
    { isImpatient }: { readonly isImpatient: boolean },
  ): Promise<boolean> {
    if (this.#hasResigned) return false;
    const start = this.#clock.now();
    const file = this.#file;
    const names = excused?.flatMap((hello) => (hello ? [identityOf(hello)] : []));
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      if (this.#file !== file) return false;
      const verdict = file ? this.#decide(file, right, names) : 'obtained';
      if (verdict !== 'open') return verdict === 'obtained';
      if (isImpatient && file && this.#clock.now() - start > HEIR_PATIENCE) this.#endTheHung(file);
      await sleep(wait, this.#clock);
    }
  }

  /** Kills the processes that hold bytes, unless the one that signed last is alive: that one may be in charge. */
  #endTheHung(file: SharedFile): void {
    const { pid, startTime } = this.holder ?? {};
    const isAlive = pid !== undefined && processStartTime(pid) === startTime && !hasProcessEnded(pid);
    if (!isAlive) endLockersOf(file.inode);
  }

  #decide(file: LockedFile, right: Right, excused: readonly string[] | undefined): Verdict {
    const isLocked = file.tryLock(firstByteOf(right, this.#turn, this.#offered));
    const { holder } = this;
    if (isLocked) this.#next = Math.max(this.#next, holder?.next ?? 0);
    return verdictOf(isLocked, holder && identityOf(holder), excused);
  }

  /** Records in the file that this process is in charge. */
  sign({ pid, startTime, generation }: Hello): void {
    const record: Holder = { pid, startTime, generation, next: this.#next };
    const line = JSON.stringify(record).padEnd(RECORD_BYTES / 2 - 1);
    this.#file?.write(Buffer.from(`${line}\n${line}\n`));
  }

  /** Undefined if no process has signed, or if one signs at this moment. */
  get holder(): Holder | undefined {
    return this.#file && readHolder(this.#file);
  }

  /** Whether another process that this one can see holds locks on the file. */
  hasOthers(): boolean {
    const inode = this.#file?.inode;
    return lockers().some((locker) => locker.inode === inode && locker.pid !== process.pid);
  }

  /** Gives the arbiter up for good: another generation takes charge. */
  resign(): void {
    this.close();
    this.#hasResigned = true;
  }

  /** Releases the locks. This process can no longer take charge, or take it back. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

export function chargeStatus(file: SharedFile): ChargeStatus {
  const { pid, generation } = readHolder(file) ?? {};
  return { inode: file.inode, ...(pid !== undefined && generation !== undefined && { holder: { generation, pid } }) };
}

/** The record is written twice, so that a half-written one is noticed. */
function readHolder(file: Pick<SharedFile, 'read'>): Holder | undefined {
  const [first, second] = file.read(RECORD_BYTES).toString('latin1').split('\n');
  if (first === undefined || first === '' || first !== second) return undefined;
  return JSON.parse(first) as Holder;
}
