// The predecessor's side of one handover. Its steps are prepare, probate, commit, retire. A failure at any time (an illegal
// frame, a death, a silence, a deadline) ends the step that waits, and `giveUp` takes everything back.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HandoverError, type HandoverErrorCode, hasCode, knownCode } from '../errors.js';
import type { Phase } from '../events.js';
import { closeFds } from '../fd/index.js';
import { withHelpersStderr } from '../platform/helpers-stderr.js';
import type { SuccessorProcess } from '../platform/successor-process.js';
import type { Channel } from '../protocol/channel.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { Deferred } from '../protocol/deferred.js';
import {
  type Claims,
  type DrainingGeneration,
  type EndedHandover,
  type Frame,
  type Hello,
  type ManifestEntry,
  negotiate,
} from '../protocol/frames.js';
import { type DescriptorList, sendList, type Wanted, without } from '../protocol/manifest.js';
import { COMMIT_TIMEOUT, EXIT_GRACE, SERVING_PATIENCE, SILENT_GRACE } from '../protocol/timeouts.js';
import { Migration } from '../transfer/migration.js';
import { ARBITER_CAPABILITY } from './arbiter.js';
import { HandoverRecord } from './handover-record.js';
import { Machine, PREDECESSOR, PREDECESSOR_PHASE, type PredecessorEvent, type PredecessorState } from './machine.js';
import { explainFailure, hasEnded, type UpgradeOutcome } from './outcome.js';
import { Pulse } from './pulse.js';
import { type Unclaimed, unclaimedError } from './unclaimed.js';

export interface Preparation {
  readonly readyTimeout: number;
  readonly standby: boolean;
  readonly probation?: boolean;
  /** Listeners that may stay unclaimed, for a successor of an older version, which does not decide that itself. */
  readonly unclaimed?: Unclaimed;
}

/** The successor, and the record of the handover to it. */
export interface Outgoing {
  readonly channel: Channel;
  readonly process: SuccessorProcess;
  /** The HELLO of the predecessor. */
  readonly hello: Hello;
  readonly record?: HandoverRecord | undefined;
  /** @default the system clock */
  readonly clock?: Clock;
}

/** What the predecessor hands over. */
export interface Giving {
  /** The descriptors that a successor needs while it loads; borrowed. */
  list(wanted: Wanted): DescriptorList;
  /**
   * Gives up the charge. Stops accepting, except on listeners that the successor did not claim and that are optional or
   * were opened after the offer. Resolves with everything that is handed over, including state.
   */
  stepDown(claimed: readonly string[], offered: ReadonlySet<ManifestEntry>): Promise<DescriptorList>;
}

/** What the predecessor does when the successor fails or ends. */
export interface TakingBack {
  /**
   * Whether this process may undo `stepDown`: no other generation has taken charge. Resolves when the arbiter has decided.
   */
  mayTakeBack(successor: Hello | undefined): Promise<boolean>;
  takeBack(): Promise<void>;
  /** Called when the successor ended on purpose: closes the listeners, so that clients are refused instead of waiting. */
  letGo(): void;
}

export class OutgoingHandover {
  readonly moving: Migration;
  readonly #channel: Channel;
  readonly #hello: Hello;
  readonly #giving: Giving;
  readonly #takingBack: TakingBack;
  readonly #process: SuccessorProcess;
  readonly #machine: Machine<PredecessorState, PredecessorEvent>;
  readonly record: HandoverRecord;
  readonly #failed = new Deferred<never>();
  readonly #offered = new Set<ManifestEntry>();
  readonly #clock: Clock;
  readonly #pulse: Pulse;
  #peer: Hello | undefined;
  /** Milliseconds that `retire()` waits for the successor to read RETIRE. */
  hearing = 0;
  claims: Claims = { claimed: [], unclaimed: [] };
  #isToProve = false;
  #hasSteppedDown = false;
  #hasSuccessorGivenUp = false;
  #hasSuccessorLeft = false;
  /** Resolves when the channel has ended. */
  readonly #reading: Promise<void>;
  #maySuccessorServe = false;

  constructor(
    { channel, process, hello, record, clock = systemClock }: Outgoing,
    giving: Giving,
    takingBack: TakingBack,
  ) {
    this.#channel = channel;
    this.moving = new Migration(channel, clock);
    this.#hello = hello;
    this.#giving = giving;
    this.#clock = clock;
    this.#pulse = new Pulse(clock, (message) => this.#onFailing(message));
    this.#takingBack = takingBack;
    this.#process = process;
    this.record = record ?? new HandoverRecord(hello, { by: 'app' }, undefined);
    this.#machine = new Machine(PREDECESSOR, 'starting', (state) => this.#onEnter(state));
    this.#onEnter('starting');
    this.#reading = this.#read();
  }

  /** The present phase, or the one in which the handover failed. */
  get phase(): Phase | undefined {
    return this.record.log.current;
  }

  /** Rejects when the handover fails, at any time until it is retired. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  get successorPid(): number {
    return this.#process.pid;
  }

  /**
   * Waits until the successor is ready to serve; a standby does not accept before COMMIT. `probate()` may follow, then
   * `commit()`.
   * @throws HandoverError the successor failed, was not ready within `readyTimeout`, or left a listener unclaimed
   */
  async prepare({ readyTimeout, standby, probation = false, unclaimed = 'fail' }: Preparation): Promise<void> {
    this.#isToProve = probation;
    await this.#within(readyTimeout, 'the successor was not ready', async () => {
      await this.#channel.send('HELLO', { ...this.#hello, handoverId: this.record.id });
      await this.#until('offered');
      const arbiter = this.#peer?.capabilities.includes(ARBITER_CAPABILITY) ?? false;
      const list = this.#giving.list({ stderr: this.#process.isChild, tickets: !standby, arbiter });
      for (const entry of list.entries) this.#offered.add(entry);
      await sendList(this.#channel, 'MANIFEST', list, standby).finally(list.release);
      await this.#until('ready');
    });
    // Without `left` the successor is of a version that does not decide this itself.
    const error = this.claims.left ? undefined : unclaimedError(this.claims, [...this.#offered], unclaimed);
    if (error) throw error;
  }

  /**
   * Watches the successor while both processes accept: for `probation` ms, and until the next heartbeat. A silence of
   * `stall` ms fails the handover.
   */
  async probate(probation: number, stall: number): Promise<void> {
    await this.#expectGoingOn();
    this.#watchFor(stall);
    await settlesWithin(this.#failed.promise, probation, this.#clock);
    await Promise.race([this.#pulse.next(), this.#failed.promise]);
  }

  /**
   * Puts the successor in charge; this process stops accepting. The successor is still watched, and may be silent for
   * `SERVING_PATIENCE` times as long.
   */
  async commit(stall: number): Promise<UpgradeOutcome> {
    await this.#expectGoingOn();
    this.#watchFor(stall * SERVING_PATIENCE);
    this.#machine.own('commit');
    await this.#within(COMMIT_TIMEOUT, 'the successor did not answer COMMIT', async () => {
      this.#hasSteppedDown = true;
      const given = await this.#giving.stepDown(this.claims.claimed, this.#offered);
      const list = withHelpersStderr(given, this.#process.helpersStderr);
      // The successor may serve from the first byte of COMMIT on, even if its answer never comes.
      this.#maySuccessorServe = true;
      await sendList(this.#channel, 'COMMIT', without(list, this.#offered)).finally(list.release);
      await this.#until('migrating');
    });
    // The same read may have brought an ABORT of the successor.
    await this.#expectGoingOn();
    const { generation } = this.#hello;
    const { claimed, unclaimed, bound } = this.claims;
    const claims = { claimed, unclaimed, ...(bound && { bound }) };
    return { generation: generation + 1, pid: this.#process.pid, phases: this.record.log.records, ...claims };
  }

  /** Whether the successor has not ended, and can adopt live connections. */
  get canMove(): boolean {
    return !this.#hasSuccessorLeft && (this.#peer?.capabilities.includes('move') ?? false);
  }

  /** Enters the drain: no connection migrates, or none can at present. */
  settle(): void {
    if (this.#machine.state === 'migrating') this.#machine.own('migrated');
  }

  /** Reports to the successor what is left to drain. */
  report(connections: number, draining: readonly DrainingGeneration[]): void {
    if (this.#machine.state !== 'draining' && this.#machine.state !== 'migrating') return;
    this.#channel.send('HEARTBEAT', { connections, draining }).catch(() => {});
  }

  /**
   * Sends RETIRE: the successor no longer has a predecessor. Resolves when it has been sent, or, for at most `hearing` ms,
   * when the successor has read it.
   * @throws HandoverError the successor failed before
   */
  async retire(outcomes: readonly EndedHandover[] = []): Promise<void> {
    await this.#expectGoingOn();
    this.settle();
    if (this.#machine.state === 'draining') await this.#signOfLife();
    this.#machine.own('drained');
    if (!this.#hasSuccessorLeft) await this.#sendRetire(outcomes);
    if (this.hearing > 0) await settlesWithin(this.#reading, this.hearing, this.#clock);
    this.#channel.close();
  }

  /** @throws ERR_HANDOVER_SUCCESSOR_EXITED the successor has died; one that ended on purpose has sent ABORT before */
  async #sendRetire(outcomes: readonly EndedHandover[]): Promise<void> {
    try {
      await this.#channel.send('RETIRE', { outcomes });
    } catch (cause) {
      await this.#reading;
      if (this.#hasSuccessorLeft) return;
      const message = 'the successor ended just before the predecessor retired';
      throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, {
        phase: this.phase,
        cause,
        stillServing: true,
      });
    }
  }

  /**
   * Waits for a heartbeat, because the successor may have hung since it took charge without having been silent long enough.
   */
  async #signOfLife(): Promise<void> {
    await Promise.race([this.#pulse.next(), this.#until('last')]);
    // The same read may have brought a frame that ends the handover; it has been handled when the next turn begins.
    await nextTurn();
    await this.#expectGoingOn();
  }

  /** Aborts the handover; the step that waits rejects with the reason. Without effect once the handover is over. */
  abort(reason: unknown): void {
    this.#machine.own('abort');
    if (this.#isGivenUp) this.#failed.reject(reason);
  }

  /**
   * Takes everything back after a failure. A successor that may be in charge, and may only be slow, or alive with its
   * channel closed, is killed first, so that two processes never serve. Any other is stopped afterwards: until then both
   * accept, and the kernel gives each connection to one of them.
   * @returns the error for the requester: the reason of an AbortSignal untouched, otherwise a HandoverError
   */
  async giveUp(reason: unknown): Promise<unknown> {
    this.abort(reason);
    const { code, message } = reason instanceof HandoverError ? reason : { code: undefined, message: String(reason) };
    this.#channel.send('ABORT', { code, reason: message }).catch(() => {});
    const isEnding = !this.#isStranger && hasEnded(reason);
    const hasExited = isEnding && (await settlesWithin(this.#process.exited, EXIT_GRACE, this.#clock));
    if (this.#maySuccessorServe && !hasExited && !this.#hasSuccessorGivenUp) await this.#process.stop({ grace: 0 });
    this.moving.takeBack();
    if (this.#hasSteppedDown && !this.#hasSuccessorLeft) await this.#recall();
    if (!this.#isStranger) await this.#process.stop(this.#pulse.isSilent ? { grace: SILENT_GRACE } : {});
    this.#channel.close();
    return reason instanceof HandoverError ? await this.#explain(reason) : reason;
  }

  async #recall(): Promise<void> {
    const isOurs = await this.#takingBack.mayTakeBack(this.#peer);
    this.#machine.own(isOurs ? 'obtained' : 'refused');
    if (isOurs) await this.#takingBack.takeBack();
  }

  /** Whether the handover failed and another generation took charge, so that this process took nothing back. */
  get isRelieved(): boolean {
    return this.#machine.state === 'relieved';
  }

  get #isGivenUp(): boolean {
    return this.#machine.state === 'ended' || this.#machine.state === 'recalling';
  }

  /**
   * Whether the peer dialled in and sent no HELLO: it holds nothing, may be any tool of this user, and must not be stopped.
   */
  get #isStranger(): boolean {
    return !this.#process.wasStarted && this.#peer === undefined;
  }

  async #explain(error: HandoverError): Promise<HandoverError> {
    // This process cannot see the end of a process without a pidfd.
    const hasExited = !this.#isStranger && (await settlesWithin(this.#process.exited, EXIT_GRACE, this.#clock));
    const exit = hasExited ? await this.#process.exited : undefined;
    return explainFailure(error, {
      phase: this.phase,
      exit,
      stderr: await this.#process.stderrTail(),
      connections: this.#pulse.owned(this.moving.moved),
    });
  }

  async #read(): Promise<void> {
    try {
      for await (const frame of this.#channel) this.#onFrame(frame);
      this.#machine.peer('EOF');
      if (this.#isGivenUp) this.#fail('ERR_HANDOVER_SUCCESSOR_EXITED', 'the successor ended');
    } catch (error) {
      this.abort(error);
    }
  }

  #onFrame(frame: Frame): void {
    if (frame.fds.length > 0) {
      closeFds(frame.fds);
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', `the successor sent descriptors with ${frame.name}`, {
        stillServing: true,
      });
    }
    if (frame.name === 'ABORT') {
      this.#onAbort(frame.payload);
      return;
    }
    if (frame.name === 'HELLO') {
      negotiate(this.#hello, frame.payload);
      this.#peer = frame.payload;
      this.record.met(frame.payload);
    }
    if (frame.name === 'CLAIMED') this.claims = frame.payload;
    this.#machine.peer(frame.name as PredecessorEvent);
    // At once, because the same read may have brought a heartbeat that fails the probation.
    if (frame.name === 'READY' && this.#isToProve) this.#machine.own('watch');
    if (frame.name === 'READY' || frame.name === 'HEARTBEAT') this.moving.roomIs(frame.payload.room);
    if (frame.name === 'HEARTBEAT') this.#pulse.beat(frame.payload);
    // A successor that has died since, or is given up, cannot keep the connections that it held.
    if (frame.name === 'HELD' && !this.#isGivenUp && !this.#process.hasEnded()) this.moving.onHeld(frame.payload);
  }

  /** Watches the heartbeats, unless the peer is of a version that sends none. */
  #watchFor(stall: number): void {
    if (this.#peer?.capabilities.includes('heartbeat')) this.#pulse.watch(stall);
  }

  #onFailing(message: string): void {
    const isHung = this.#pulse.isSilent && this.#machine.state !== 'probation';
    this.abort(
      new HandoverError(isHung ? 'ERR_HANDOVER_TIMEOUT' : 'ERR_HANDOVER_PROBATION_FAILED', message, {
        stillServing: true,
      }),
    );
  }

  #onAbort({ code, reason }: { readonly code?: string | undefined; readonly reason?: string | undefined }): void {
    const { state } = this.#machine;
    // The successor was told to end while in charge: no failure, and this process is not to serve again.
    const isInCharge = state === 'migrating' || state === 'draining' || state === 'retired';
    this.#hasSuccessorLeft = code === 'ERR_HANDOVER_CLOSED' && isInCharge;
    this.#machine.peer(this.#hasSuccessorLeft ? 'LEFT' : 'ABORT');
    if (!this.#isGivenUp) {
      this.#pulse.stop();
      if (this.#hasSuccessorLeft) {
        this.moving.takeBack();
        this.#takingBack.letGo();
      }
      return;
    }
    this.#hasSuccessorGivenUp = true;
    this.#fail(knownCode(code) ?? 'ERR_HANDOVER_ABORTED', `the successor gave up: ${reason ?? 'it gave no reason'}`);
  }

  #fail(code: HandoverErrorCode, message: string): void {
    this.#failed.reject(new HandoverError(code, message, { phase: this.phase, stillServing: true }));
  }

  #onEnter(state: PredecessorState): void {
    const phase = PREDECESSOR_PHASE[state];
    if (phase) this.record.entered(phase);
    if (state === 'ended' || state === 'retired' || state === 'recalling') this.#pulse.stop();
  }

  #until(state: PredecessorState): Promise<void> {
    return Promise.race([this.#machine.reached(state), this.#failed.promise]);
  }

  async #expectGoingOn(): Promise<void> {
    if (this.#isGivenUp) await this.#failed.promise;
  }

  async #within(timeout: number, what: string, step: () => Promise<void>): Promise<void> {
    const cancel = this.#clock.after(timeout, () => {
      const message = `${what} within ${timeout} ms`;
      this.abort(new HandoverError('ERR_HANDOVER_TIMEOUT', message, { phase: this.phase, stillServing: true }));
    });
    try {
      await Promise.race([step().catch((error: unknown) => this.#explainedByEnd(error)), this.#failed.promise]);
    } finally {
      cancel();
    }
  }

  /**
   * A send failed because the channel is closed: the reason is in the successor's ABORT or EOF, which is still to be read.
   */
  #explainedByEnd(error: unknown): Promise<never> {
    if (['EPIPE', 'ECONNRESET', 'ECANCELED'].some((code) => hasCode(error, code))) return this.#failed.promise;
    throw error;
  }
}
