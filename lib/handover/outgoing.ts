// One handover, from the side of the process that gives. The steps are prepare, probate, commit, retire; what can go
// wrong at any time (a frame out of turn, a death, a silence, a deadline) ends the step that waits, and `giveUp` takes
// everything back.
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
  /** What a successor of an older version, which does not decide that itself, may leave. */
  readonly unclaimed?: Unclaimed;
}

/** The process that takes, and what is written down of the handover to it. */
export interface Outgoing {
  readonly channel: Channel;
  readonly process: SuccessorProcess;
  /** Of the process that gives. */
  readonly hello: Hello;
  readonly record?: HandoverRecord | undefined;
  /** @default the system's */
  readonly clock?: Clock;
}

/** What is given. */
export interface Giving {
  /** What a successor needs to load; the descriptors are borrowed. */
  list(wanted: Wanted): DescriptorList;
  /**
   * Gives up being in charge: stops accepting, but where the successor does not: on listeners that are not among the claimed,
   * and are optional or were opened after all was offered. Resolves with everything that is handed over, state included.
   */
  stepDown(claimed: readonly string[], offered: ReadonlySet<ManifestEntry>): Promise<DescriptorList>;
}

/** What follows where the successor does not go on. */
export interface TakingBack {
  /** Whether this process may undo `stepDown`: no other than this successor has taken charge since. Waits until that is decided. */
  mayTakeBack(successor: Hello | undefined): Promise<boolean>;
  takeBack(): Promise<void>;
  /** The successor left on purpose, and nobody listens any more: clients are to be refused, not kept waiting. */
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
  /** How long the successor may take to hear that it is alone, in milliseconds. */
  hearing = 0;
  claims: Claims = { claimed: [], unclaimed: [] };
  #isToProve = false;
  #hasSteppedDown = false;
  #hasSuccessorGivenUp = false;
  #hasSuccessorLeft = false;
  /** Ends with the channel. */
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

  /** The phase going on, or the one it failed in. */
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

  /** From nothing to a successor that could serve; a standby does not accept before COMMIT. `probate()` comes next or not. */
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
    // Of a version that does not decide it itself.
    const error = this.claims.left ? undefined : unclaimedError(this.claims, [...this.#offered], unclaimed);
    if (error) throw error;
  }

  /** Both accept for `probation` ms, and until a heartbeat after that; silence of `stall` ms ends it. */
  async probate(probation: number, stall: number): Promise<void> {
    await this.#expectGoingOn();
    this.#watchFor(stall);
    await settlesWithin(this.#failed.promise, probation, this.#clock);
    await Promise.race([this.#pulse.next(), this.#failed.promise]);
  }

  /** Puts the successor in charge: this process accepts no more. It is watched on, with more patience. */
  async commit(stall: number): Promise<UpgradeOutcome> {
    await this.#expectGoingOn();
    this.#watchFor(stall * SERVING_PATIENCE);
    this.#machine.own('commit');
    await this.#within(COMMIT_TIMEOUT, 'the successor did not answer COMMIT', async () => {
      this.#hasSteppedDown = true;
      const given = await this.#giving.stepDown(this.claims.claimed, this.#offered);
      const list = withHelpersStderr(given, this.#process.helpersStderr);
      // From the first byte of COMMIT on, whether its answer comes or not.
      this.#maySuccessorServe = true;
      await sendList(this.#channel, 'COMMIT', without(list, this.#offered)).finally(list.release);
      await this.#until('migrating');
    });
    // It may have given up in the same read.
    await this.#expectGoingOn();
    const { generation } = this.#hello;
    const { claimed, unclaimed, bound } = this.claims;
    const claims = { claimed, unclaimed, ...(bound && { bound }) };
    return { generation: generation + 1, pid: this.#process.pid, phases: this.record.log.records, ...claims };
  }

  /** Whether the successor is there, and can go on with live connections. */
  get canMove(): boolean {
    return !this.#hasSuccessorLeft && (this.#peer?.capabilities.includes('move') ?? false);
  }

  /** Nothing moves, or no more for now: the rest drains. */
  settle(): void {
    if (this.#machine.state === 'migrating') this.#machine.own('migrated');
  }

  /** Tells the successor what is left to drain. */
  report(connections: number, draining: readonly DrainingGeneration[]): void {
    if (this.#machine.state !== 'draining' && this.#machine.state !== 'migrating') return;
    this.#channel.send('HEARTBEAT', { connections, draining }).catch(() => {});
  }

  /** The last word: from here on the successor is alone. Resolves when it has heard that, where `hearing` says so. */
  async retire(outcomes: readonly EndedHandover[] = []): Promise<void> {
    await this.#expectGoingOn();
    this.settle();
    if (this.#machine.state === 'draining') await this.#signOfLife();
    this.#machine.own('drained');
    if (!this.#hasSuccessorLeft) await this.#sendRetire(outcomes);
    if (this.hearing > 0) await settlesWithin(this.#reading, this.hearing, this.#clock);
    this.#channel.close();
  }

  /** @throws ERR_HANDOVER_SUCCESSOR_EXITED it has died; one that was told to end has said so before */
  async #sendRetire(outcomes: readonly EndedHandover[]): Promise<void> {
    try {
      await this.#channel.send('RETIRE', { outcomes });
    } catch (cause) {
      await this.#reading;
      if (this.#hasSuccessorLeft) return;
      const message = 'the successor ended in the moment in which it was to be left alone';
      throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, {
        phase: this.phase,
        cause,
        stillServing: true,
      });
    }
  }

  /** Whoever retires leaves the successor alone, and it may have hung since it took charge, with nobody the wiser yet. */
  async #signOfLife(): Promise<void> {
    await Promise.race([this.#pulse.next(), this.#until('last')]);
    // The same read may have brought what ends it: the rest of it has been looked at when the next turn begins.
    await nextTurn();
    await this.#expectGoingOn();
  }

  /** Ends the handover from this side; the step that waits rejects with the reason. Without effect once it is over. */
  abort(reason: unknown): void {
    this.#machine.own('abort');
    if (this.#isGivenUp) this.#failed.reject(reason);
  }

  /**
   * Takes everything back after a failure. A successor that may be in charge, and may only be slow, or alive with its
   * channel closed, is ended first, so that two never serve; any other ends afterwards, and the kernel gives each
   * connection to one of us.
   * @returns the error for whoever asked for the handover: an AbortSignal's reason untouched, else a HandoverError
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

  /** Given up, and another generation took charge: nothing was taken back. */
  get isRelieved(): boolean {
    return this.#machine.state === 'relieved';
  }

  get #isGivenUp(): boolean {
    return this.#machine.state === 'ended' || this.#machine.state === 'recalling';
  }

  /** Dialled in with something else than a HELLO: it holds nothing, and may be any tool of this user. It is not ours to end. */
  get #isStranger(): boolean {
    return !this.#process.wasStarted && this.#peer === undefined;
  }

  async #explain(error: HandoverError): Promise<HandoverError> {
    // A process out of reach may never be seen to end.
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
    // At once: the same read may have brought a heartbeat that fails the probation.
    if (frame.name === 'READY' && this.#isToProve) this.#machine.own('watch');
    if (frame.name === 'READY' || frame.name === 'HEARTBEAT') this.moving.roomIs(frame.payload.room);
    if (frame.name === 'HEARTBEAT') this.#pulse.beat(frame.payload);
    // One that has died since, or is given up, cannot keep what it held.
    if (frame.name === 'HELD' && !this.#isGivenUp && !this.#process.hasEnded()) this.moving.onHeld(frame.payload);
  }

  /** A peer of another version may send none. */
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
    // Told to end while in charge: it is not a failure, and nobody wants this process back.
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
    this.#fail(knownCode(code) ?? 'ERR_HANDOVER_ABORTED', `the successor gave up: ${reason ?? 'it did not say why'}`);
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

  /** A send failed because one end of the channel is closed: the last word of the successor, or its EOF, says why. */
  #explainedByEnd(error: unknown): Promise<never> {
    if (['EPIPE', 'ECONNRESET', 'ECANCELED'].some((code) => hasCode(error, code))) return this.#failed.promise;
    throw error;
  }
}
