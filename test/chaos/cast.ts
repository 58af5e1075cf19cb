// Which processes there are and what each is by its own words: a candidate, in charge, draining; how it ended, and why it
// may have.
import type { Said } from '../faults/log.js';
import { identify, type ProcessId } from '../helpers/processes.js';

/** `candidate`: started, and not in charge yet; a standby is one, too. */
export type Part = 'candidate' | 'in-charge' | 'draining';

export class Member {
  readonly pid: number;
  readonly slot: number;
  readonly version: number;
  /** What is wrong with its release, if anything. */
  readonly kind: string;
  readonly id: ProcessId | undefined;
  readonly startedAt: number;
  part: Part = 'candidate';
  /** The work of the one in charge runs there. */
  hasDuty = false;
  isPrepared = false;
  wasInCharge = false;
  exitCode: number | undefined;
  /** What the schedule did to it. */
  killedAt: number | undefined;
  toldToEndAt: number | undefined;
  stoppedAt: number | undefined;
  /** Its predecessor gave it up, or its supervisor. */
  isGivenUp = false;
  isClosing = false;

  constructor({ pid, at, slot, version, kind }: Said) {
    this.pid = pid;
    this.id = identify(pid);
    this.startedAt = at;
    this.slot = Number(slot);
    this.version = Number(version);
    this.kind = String(kind);
  }

  /** Also while it ends; one that was killed is counted as gone at once. */
  get isAlive(): boolean {
    return this.killedAt === undefined && this.id !== undefined && identify(this.pid)?.startTime === this.id.startTime;
  }

  /**
   * Whether others may have killed it for what the schedule made of it. Not one that the schedule killed itself: what that
   * one owned was looked at.
   */
  get isBlamed(): boolean {
    if (this.killedAt !== undefined) return false;
    return this.#isBad || (this.stoppedAt !== undefined && this.exitCode !== 0);
  }

  get #isBad(): boolean {
    return this.kind !== 'good' && this.kind !== 'slow';
  }

  /** Whether the schedule, or what is wrong with its release, is why it ended as it did. */
  get mayHaveDied(): boolean {
    if (this.killedAt !== undefined || this.stoppedAt !== undefined || this.toldToEndAt !== undefined) return true;
    return this.#isBad;
  }
}

export class Cast {
  readonly members = new Map<number, Member>();
  /** Moments at which two processes were in charge of one slot. */
  readonly overlaps: string[] = [];

  note(said: Said): void {
    const { pid, event } = said;
    if (event === 'start') this.members.set(pid, new Member(said));
    const member = this.members.get(pid);
    if (!member) return;
    if (event === 'duty-begin') this.#inCharge(member);
    if (event === 'prepared') this.#candidate(member.slot, (candidate) => (candidate.isPrepared = true));
    if (event === 'duty-end') member.hasDuty = false;
    if (event === 'duty-end' || event === 'superseded') member.part = 'draining';
    if (event === 'closing') member.isClosing = true;
    if (event === 'failed') this.#candidate(member.slot, (candidate) => (candidate.isGivenUp = true));
    if (event === 'exit') member.exitCode = Number(said.code);
  }

  get living(): Member[] {
    return [...this.members.values()].filter(({ isAlive }) => isAlive);
  }

  /** The oldest first. */
  having(part: Part): Member[] {
    return this.living.filter((member) => member.part === part);
  }

  versionOf(pid: number): number | undefined {
    return this.members.get(pid)?.version;
  }

  #candidate(slot: number, act: (candidate: Member) => void): void {
    const candidate = [...this.members.values()].findLast((other) => other.slot === slot && other.part !== 'draining');
    if (candidate) act(candidate);
  }

  #inCharge(member: Member): void {
    for (const other of this.living) {
      if (other === member || other.slot !== member.slot || !other.hasDuty) continue;
      this.overlaps.push(`${member.pid} came in charge while ${other.pid} was`);
    }
    member.hasDuty = true;
    // Of one that took back what its successor had.
    member.isClosing = false;
    member.part = 'in-charge';
    member.wasInCharge = true;
  }
}
