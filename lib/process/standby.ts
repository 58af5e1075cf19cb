// A successor that is ready and waits: committing it costs no process start.

import type { UpgradeOutcome } from '../handover/outcome.js';
import type { OutgoingHandover } from '../handover/outgoing.js';
import type { Claims } from '../protocol/frames.js';

/** Made by `handover.prepare()`. Ends with `commit()` or `discard()`; leaving the scope of `await using` discards it. */
export interface Standby extends AsyncDisposable {
  readonly generation: number;
  readonly pid: number;
  /** What it did with the listeners on offer: names, and listeners of its own. */
  readonly claims: Claims;
  /** Resolves with the reason when it is lost before it was committed: it died, or was told to end. Never rejects. */
  readonly lost: Promise<unknown>;
  /**
   * Puts it in charge: state is taken now, and so are listeners bound since. Resolves and rejects as `upgrade()`.
   */
  commit(): Promise<UpgradeOutcome>;
  /** Ends it. Without effect once it is committed. */
  discard(): Promise<void>;
}

/** How the process that prepared it ends the waiting. */
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
