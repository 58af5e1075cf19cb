// Who is in charge, where more than two generations are alive: the kernel decides, by locks on a file in memory that
// travels with the listeners. Every attempt at a handover has a number, its turn, higher than any before. A generation
// that may serve holds the bytes from its turn up to the next one's, and the one in charge holds all from its turn on. So
// - nobody is in charge without the open end of the file, and one process at most has that;
// - a generation that drains still has its bytes for as long as it may take back, and it can while nobody younger has any;
// - a successor that was never committed has none, and takes charge only where nobody else has.
// A process that dies has no locks any more; one that is stopped keeps them.

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

/** The file's name in a MANIFEST; the entry's address is the turn that is offered. */
export const ARBITER: string = `${RESERVED}charge`;

/** What a process says in HELLO when it abides by the arbiter. */
export const ARBITER_CAPABILITY = 'arbiter';

/**
 * By which right a process claims the charge: `committed` by its predecessor, whose turn was offered to it; `bereft` of a
 * predecessor that died before, or that it never had; `recall` of what it had handed over.
 */
export type Right = 'committed' | 'bereft' | 'recall';

/** The first byte a claimant must have, with all that follow. */
export function firstByteOf(right: Right, turn: number, offered: number): number {
  if (right === 'bereft') return 0;
  return right === 'committed' ? turn : offered;
}

/** `open`: nobody has taken charge yet since the one in charge died, and whoever may has not decided. */
export type Verdict = 'obtained' | 'refused' | 'open';

/**
 * `excused`: those who signed last before the claim, and do not serve any more; undefined where that is somebody else's to
 * know.
 */
export function verdictOf(isLocked: boolean, holder: string | undefined, excused?: readonly string[]): Verdict {
  if (isLocked) return 'obtained';
  return holder === undefined || excused === undefined || excused.includes(holder) ? 'open' : 'refused';
}

/** Who signed last: it was in charge then. */
export interface Holder {
  readonly pid: number;
  readonly startTime?: string | undefined;
  readonly generation: number;
  /** A turn higher than any that was ever offered. */
  readonly next: number;
}

/** Told apart from another process of the same number, also one of another pid namespace. */
export function identityOf({ pid, startTime }: Pick<Hello, 'pid' | 'startTime'>): string {
  return `${pid} since ${startTime}`;
}

const FIRST_WAIT = 5;
const LONGEST_WAIT = 100;
const RECORD_BYTES = 512;

export class Arbiter {
  readonly #clock: Clock;
  /** Undefined: none came, and this process is not in charge yet; or the platform has none. */
  #file: SharedFile | undefined;
  #turn = 0;
  #next = 1;
  /** The successor's; this process' own where none was offered. */
  #offered = 0;
  #hasResigned = false;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Whether this process abides by one. */
  get isThere(): boolean {
    return this.#file !== undefined;
  }

  /** For an operator. */
  get status(): ChargeStatus | undefined {
    return this.#file && chargeStatus(this.#file);
  }

  /** Takes what a predecessor or supervisor passed on, in place of what there was. Owns the descriptor. */
  adopt(fd: number, turn: number): void {
    this.close();
    this.#file = new SharedFile(fd);
    this.#turn = turn;
    this.#next = turn + 1;
    this.#offered = turn;
  }

  /** The first of its chain: nobody else knows of the file yet. Without effect where the platform has none. */
  found(): void {
    try {
      this.#file = SharedFile.create(ARBITER);
      this.#file.tryLock(0);
    } catch {
      // As before there were arbiters: two generations agree by their channel, three may not.
      this.close();
    }
  }

  /**
   * A turn for a successor; none for one that knows of no arbiter. The list is to be released when it is sent: the
   * descriptor has locks of its own.
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

  /** At COMMIT: the open end is the successor's to take. One that was not offered a turn leaves it here. */
  yield(): void {
    if (this.#offered > this.#turn) this.#file?.unlock(this.#offered);
  }

  /** Committed: takes the turn that was offered. False: another generation has taken charge meanwhile. */
  take(): boolean {
    return this.#file === undefined || this.#file.tryLock(firstByteOf('committed', this.#turn, this.#offered));
  }

  /**
   * Waits for the charge. False: another generation has taken it, and this one never will; or nobody wants it any more.
   * @param excused whose death or failure is the reason for the claim, and this process; undefined: a supervisor ends this
   *   one when another is in charge
   * @param isImpatient ends whoever may take charge and does neither that nor anything else for `HEIR_PATIENCE` ms
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

  /** Those who may take charge and do not; not where the one that signed last is alive, and may be in charge. */
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

  /** Writes down that this process is in charge. */
  sign({ pid, startTime, generation }: Hello): void {
    const record: Holder = { pid, startTime, generation, next: this.#next };
    const line = JSON.stringify(record).padEnd(RECORD_BYTES / 2 - 1);
    this.#file?.write(Buffer.from(`${line}\n${line}\n`));
  }

  /** Undefined where nobody has signed, or somebody does at this moment. */
  get holder(): Holder | undefined {
    return this.#file && readHolder(this.#file);
  }

  /** Whether any other process that can be seen has the file. */
  hasOthers(): boolean {
    const inode = this.#file?.inode;
    return lockers().some((locker) => locker.inode === inode && locker.pid !== process.pid);
  }

  /** Leaves the charge to whoever else may have it. */
  resign(): void {
    this.close();
    this.#hasResigned = true;
  }

  /** This process will not take charge any more, nor take it back. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

export function chargeStatus(file: SharedFile): ChargeStatus {
  const { pid, generation } = readHolder(file) ?? {};
  return { inode: file.inode, ...(pid !== undefined && generation !== undefined && { holder: { generation, pid } }) };
}

/** Written twice: what is half written differs. */
function readHolder(file: Pick<SharedFile, 'read'>): Holder | undefined {
  const [first, second] = file.read(RECORD_BYTES).toString('latin1').split('\n');
  if (first === undefined || first === '' || first !== second) return undefined;
  return JSON.parse(first) as Holder;
}
