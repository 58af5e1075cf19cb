// A successor that is ready and waits: committing it costs no process start.

import type { UpgradeOutcome } from '../handover/outcome.js';
import type { OutgoingHandover } from '../handover/outgoing.js';
import type { Claims } from '../protocol/frames.js';

/**
 * A successor that is ready and waits, made by `handover.prepare()`. `commit()` or `discard()` ends it; leaving the scope
 * of `await using` discards it.
 */
export interface Standby extends AsyncDisposable {
  readonly generation: number;
  readonly pid: number;
  /**
   * What the standby did with the offered listeners: the names it claimed and did not claim, and listeners that it bound.
   */
  readonly claims: Claims;
  /** Resolves with the reason when the standby dies, or is told to end, before it is committed. Never rejects. */
  readonly lost: Promise<unknown>;
  /**
   * Puts the standby in charge. State is taken now, and so are listeners that were bound since. Resolves and rejects as
   * `upgrade()`.
   */
  commit(): Promise<UpgradeOutcome>;
  /** Ends the standby. Without effect after `commit()`. */
  discard(): Promise<void>;
}

/** The actions of the process that prepared the standby. */
export interface StandbyEnds {
  commit(): Promise<UpgradeOutcome>;
  discard(): Promise<void>;
}

export class PreparedStandby implements Standby {
  readonly generation: number;
  readonly pid: number;
  readonly claims: Claims;
  readonly lost: Promise<unknown>;
  readonly #ends: StandbyEnds;
  #isCommitted = false;

  constructor(
    { successorPid, claims }: Pick<OutgoingHandover, 'successorPid' | 'claims'>,
    generation: number,
    lost: Promise<unknown>,
    ends: StandbyEnds,
  ) {
    this.generation = generation;
    this.pid = successorPid;
    this.claims = claims;
    this.lost = lost;
    this.#ends = ends;
  }

  async commit(): Promise<UpgradeOutcome> {
    this.#isCommitted = true;
    return this.#ends.commit();
  }

  async discard(): Promise<void> {
    if (!this.#isCommitted) await this.#ends.discard();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard();
  }
}
