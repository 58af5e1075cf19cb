// Runs the handovers from this process, one at a time: to a successor that it starts or that dials in, at once or by a
// standby.

import { HandoverError, hasCode, toError } from '../errors.js';
import { type Phase, publish, type Requester } from '../events.js';
import { Pidfd } from '../fd/pidfd.js';
import { HandoverRecord } from '../handover/handover-record.js';
import { failureText, type UpgradeOutcome } from '../handover/outcome.js';
import type { OutgoingHandover } from '../handover/outgoing.js';
import { successorCommand } from '../platform/command.js';
import type { Env } from '../platform/env.js';
import { refuseOrphan, refuseSharedEnd } from '../platform/orphan.js';
import { expectMemory, runCheck } from '../platform/preflight.js';
import { profileStart } from '../platform/profiling.js';
import type { ServiceManager } from '../platform/service-manager.js';
import type { Start } from '../platform/start.js';
import { type Started, startSuccessor } from '../platform/start-self.js';
import type { SuccessorProcess } from '../platform/successor-process.js';
import { refuse } from '../platform/takeover.js';
import type { Channel } from '../protocol/channel.js';
import type { DrainingGeneration, Hello } from '../protocol/frames.js';
import { RETIRE_GRACE } from '../protocol/timeouts.js';
import type { DescriptorReserve } from '../resources/reserve.js';
import type { CheckedOptions } from './options.js';
import type { Resources } from './resources.js';
import { PreparedStandby, type Standby } from './standby.js';
import type { UpgradeOptions } from './types.js';

/** What is needed to start a successor, and to hand over to it. */
export interface UpgraderMeans {
  readonly env: Env;
  readonly options: CheckedOptions;
  readonly start: Start;
  readonly reserve: DescriptorReserve;
  readonly manager: ServiceManager;
  readonly resources: Pick<Resources, 'keepClosed' | 'keepNoMore' | 'closeKept'>;
  /** Begins a handover to a process that was started or has dialled in. */
  connect(started: Started, record: HandoverRecord): OutgoingHandover;
}

/** The state of this process. */
export interface UpgradingProcess {
  describe(): { readonly hello: Hello; readonly isInCharge: boolean; readonly draining: readonly DrainingGeneration[] };
  /** @throws ERR_HANDOVER_CLOSED this process ends; ERR_HANDOVER_NOT_READY it is not in charge yet */
  expectInCharge(): void;
}

/** What this process does at the end of a handover. */
export interface UpgradeEnds {
  /** Called when the successor is in charge: this process drains, then ends. */
  superseded(outgoing: OutgoingHandover, process: SuccessorProcess): void;
  /** Called when another generation than this one or the successor is in charge: this process ends. */
  relieved(): void;
  /**
   * Called after a failure: writes the pid file again, because a successor that took this process for dead may have written
   * it.
   */
  reassert(): void;
}

interface Attempt {
  readonly record: HandoverRecord;
  outgoing?: OutgoingHandover;
  process?: SuccessorProcess;
  /** The successor is ready, and waits as a standby to be committed. */
  isStandby?: boolean;
  /** The abort reason, kept because it can arrive before the successor exists. */
  reason?: unknown;
  /** Settles when the attempt has succeeded or failed. */
  over: Promise<unknown>;
}

export class Upgrader {
  readonly #means: UpgraderMeans;
  readonly #process: UpgradingProcess;
  readonly #ends: UpgradeEnds;
  /** The attempt under way: from its begin until the successor is in charge, or the attempt has failed. */
  #attempt: Attempt | undefined;

  constructor(means: UpgraderMeans, process: UpgradingProcess, ends: UpgradeEnds) {
    this.#means = means;
    this.#process = process;
    this.#ends = ends;
  }

  /** The phase of the handover under way. */
  get phase(): Phase | undefined {
    return this.#attempt?.outgoing?.phase;
  }

  async upgrade(options: UpgradeOptions): Promise<UpgradeOutcome> {
    return this.#run(options, async (attempt) => {
      this.#adopt(attempt, await this.#startSelf(attempt, options));
      return this.#handOver(attempt);
    });
  }

  async prepare(options: UpgradeOptions): Promise<Standby> {
    const { attempt, outgoing } = await this.#run(options, async (running) => {
      const adopted = this.#adopt(running, await this.#startSelf(running, options));
      const { readyTimeout, unclaimed } = this.#means.options;
      await adopted.prepare({ readyTimeout, standby: true, unclaimed });
      return { attempt: running, outgoing: adopted };
    });
    const { generation } = this.#process.describe().hello;
    this.#means.manager.serving(generation, 'a standby waits');
    attempt.isStandby = true;
    this.#attempt = attempt;
    const lost = outgoing.failed.catch((reason: unknown) => this.#onLost(attempt, outgoing, reason));
    return new PreparedStandby(outgoing, generation + 1, lost, {
      commit: () => this.#commitPrepared(outgoing),
      discard: () => this.#discardPrepared(outgoing),
    });
  }

  async #commitPrepared(outgoing: OutgoingHandover): Promise<UpgradeOutcome> {
    const attempt = this.#attempt;
    // The standby was lost, discarded or committed already.
    if (attempt?.outgoing !== outgoing || !attempt.isStandby) return outgoing.failed;
    attempt.isStandby = false;
    this.#means.manager.reloading(this.#process.describe().hello.generation);
    return this.#settle(attempt, undefined, () => this.#commit(attempt));
  }

  async #discardPrepared(
    outgoing: OutgoingHandover,
    reason: HandoverError = new HandoverError('ERR_HANDOVER_ABORTED', 'the standby was discarded', {
      stillServing: true,
    }),
  ): Promise<void> {
    const attempt = this.#attempt;
    if (attempt?.outgoing !== outgoing || !attempt.isStandby) return;
    attempt.isStandby = false;
    await outgoing.giveUp(reason);
    attempt.record.end('discarded');
    attempt.process?.release();
    this.#attempt = undefined;
    this.#means.resources.closeKept();
  }

  /** Hands over to a process that dialled in, or tells that process why not. Never rejects. */
  async takeOver(channel: Channel, process: SuccessorProcess): Promise<void> {
    // A failure has been published, and no caller waits for the outcome.
    await this.replace(channel, process).catch(() => {});
  }

  /** As `takeOver()`, but resolves with the outcome. @throws HandoverError the handover failed or was refused */
  async replace(channel: Channel, process: SuccessorProcess): Promise<UpgradeOutcome> {
    try {
      return await this.#run({ requester: this.#requesterOf(process) }, async (attempt) => {
        if (!process.wasStarted && !this.#means.options.allowOrphan)
          refuseSharedEnd(this.#means.env, this.#means.manager.isPresent, process.pid);
        this.#adopt(attempt, { channel, process });
        return this.#handOver(attempt);
      });
    } catch (error) {
      const known =
        error instanceof HandoverError
          ? error
          : new HandoverError('ERR_HANDOVER_INTERNAL', String(error), { stillServing: true });
      if (!channel.isClosed) refuse(channel, known);
      process.release();
      throw known;
    }
  }

  /** Aborts the handover under way. Resolves when it has ended, with the phase it was in; undefined if there was none. */
  async abort(reason: HandoverError): Promise<Phase | undefined> {
    const attempt = this.#attempt;
    if (!attempt) return undefined;
    const { phase = 'PREPARE' } = this;
    if (attempt.outgoing && attempt.isStandby) {
      await this.#discardPrepared(attempt.outgoing, reason);
      return phase;
    }
    attempt.reason = reason;
    attempt.outgoing?.abort(reason);
    await attempt.over;
    return phase;
  }

  /** Runs the steps of one handover, and takes everything back when one fails. Refuses a second handover at a time. */
  async #run<T>(options: UpgradeOptions, steps: (attempt: Attempt) => Promise<T>): Promise<T> {
    const { signal, requester = { by: 'app', pid: this.#means.env.pid }, profile } = options;
    signal?.throwIfAborted();
    const { manager } = this.#means;
    const { isInCharge, hello } = this.#process.describe();
    // Told before a refusal, too, because `systemctl reload` waits for an answer. Not told during another handover.
    const answers = isInCharge && !this.#attempt;
    if (answers) manager.reloading(hello.generation);
    const record = new HandoverRecord(hello, requester, profile);
    try {
      this.#expectFree(requester.by !== 'takeover' && requester.by !== 'supervisor');
    } catch (error) {
      recordFailure(record, error);
      if (answers) manager.serving(hello.generation, failureText(error));
      throw error;
    }
    const attempt: Attempt = { record, over: Promise.resolve() };
    this.#attempt = attempt;
    this.#means.resources.keepClosed();
    return this.#settle(attempt, signal, () => steps(attempt));
  }

  /**
   * `isOwn`: this process starts the successor itself.
   * @throws ERR_HANDOVER_CLOSED, ERR_HANDOVER_NOT_READY, ERR_HANDOVER_WOULD_ORPHAN, ERR_HANDOVER_IN_PROGRESS,
   *    ERR_HANDOVER_TOO_MANY_DRAINING
   */
  #expectFree(isOwn: boolean): void {
    try {
      this.#process.expectInCharge();
    } catch (error) {
      // A process that can never hand over, such as a cluster primary, gets that error and not that it is too early.
      if (isOwn && hasCode(error, 'ERR_HANDOVER_NOT_READY') && !this.#means.options.allowOrphan)
        refuseOrphan(this.#means.env, this.#means.manager.isPresent);
      throw error;
    }
    if (this.#attempt) {
      const message = 'another handover of this process is under way, or a standby waits: commit or discard it';
      throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', message, { stillServing: true });
    }
    this.#makeRoomForDraining();
  }

  async #settle<T>(attempt: Attempt, signal: AbortSignal | undefined, steps: () => Promise<T>): Promise<T> {
    const onAbort = (): void => {
      attempt.reason = signal?.reason;
      attempt.record.cancelled(signal?.reason);
      attempt.outgoing?.abort(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const result = this.#takeBackOnFailure(attempt, steps);
    attempt.over = result.catch(() => {});
    try {
      return await result;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async #takeBackOnFailure<T>(attempt: Attempt, steps: () => Promise<T>): Promise<T> {
    try {
      return await steps();
    } catch (reason) {
      const error = attempt.outgoing ? await attempt.outgoing.giveUp(reason) : reason;
      if (attempt.outgoing?.isRelieved) {
        recordFailure(attempt.record, error);
        this.#ends.relieved();
        throw error;
      }
      this.#ends.reassert();
      this.#means.resources.closeKept();
      recordFailure(attempt.record, error);
      this.#means.manager.serving(this.#process.describe().hello.generation, failureText(error));
      throw error;
    } finally {
      this.#attempt = undefined;
      // A process that drains needs the descriptors of the reserve to migrate connections.
      if (this.#process.describe().isInCharge) this.#means.reserve.hold();
    }
  }

  /** Starts the successor. Every check comes before the start. */
  async #startSelf({ record }: Attempt, { profile }: UpgradeOptions): Promise<Started> {
    const { manager } = this.#means;
    if (!this.#means.options.allowOrphan) refuseOrphan(this.#means.env, manager.isPresent);
    const command = await successorCommand(this.#means.env, this.#means.start, this.#means.options.successor);
    const { command: check, memory } = this.#means.options.preflight;
    if (memory) this.#means.reserve.lend(() => expectMemory());
    if (check) await this.#means.reserve.lend(() => runCheck(check, command));
    const profiling = profile === undefined ? {} : profileStart(profile, record.id, command.variables);
    const since = performance.now();
    const more = { ...manager.successorVariables, ...profiling };
    const started = await this.#means.reserve.lend(() => startSuccessor(this.#means.env, command, more));
    record.spawned(started.process.pid, since);
    return started;
  }

  #makeRoomForDraining(): void {
    const { maxDraining, forceOldest } = this.#means.options;
    const { draining } = this.#process.describe();
    if (draining.length < maxDraining) return;
    const [oldest] = [...draining].sort((a, b) => a.generation - b.generation);
    if (forceOldest && oldest?.startTime && Pidfd.open(oldest.pid, oldest.startTime)?.kill('SIGKILL')) return;
    const list = draining.map(
      ({ generation, pid, age, connections }) =>
        `generation ${generation} (pid ${pid}) for ${Math.round(age / 1000)} s with ${connections} connections`,
    );
    const message = `${draining.length} older generations still drain, maxDraining is ${maxDraining}: ${list.join(', ')}`;
    throw new HandoverError('ERR_HANDOVER_TOO_MANY_DRAINING', message, { phase: 'PREPARE', stillServing: true });
  }

  #adopt(attempt: Attempt, started: Started): OutgoingHandover {
    const outgoing = this.#means.connect(started, attempt.record);
    attempt.outgoing = outgoing;
    attempt.process = started.process;
    // The abort came while the process was started.
    if (attempt.reason !== undefined) outgoing.abort(attempt.reason);
    return outgoing;
  }

  async #handOver(attempt: Attempt): Promise<UpgradeOutcome> {
    const { readyTimeout, probation, unclaimed } = this.#means.options;
    const { duration, stallTimeout } = probation;
    const { outgoing } = attempt as Required<Attempt>;
    await outgoing.prepare({ readyTimeout, standby: false, probation: duration > 0, unclaimed });
    if (duration > 0) await outgoing.probate(duration, stallTimeout);
    return this.#commit(attempt);
  }

  async #commit(attempt: Attempt): Promise<UpgradeOutcome> {
    const { outgoing, process } = attempt as Required<Attempt>;
    const outcome = await outgoing.commit(this.#means.options.probation.stallTimeout);
    if (this.#means.manager.isPresent) outgoing.hearing = RETIRE_GRACE;
    this.#means.resources.keepNoMore();
    this.#ends.superseded(outgoing, process);
    return outcome;
  }

  async #onLost(attempt: Attempt, outgoing: OutgoingHandover, reason: unknown): Promise<unknown> {
    if (!attempt.isStandby) return reason;
    attempt.isStandby = false;
    const givenUp = outgoing.giveUp(reason);
    attempt.over = givenUp;
    const failure = await givenUp;
    attempt.record.end('failed', failure);
    this.#attempt = undefined;
    this.#means.resources.closeKept();
    const generation = this.#process.describe().hello.generation + 1;
    publish('standby-lost', { handoverId: attempt.record.id, generation, error: toError(failure) });
    return failure;
  }

  #requesterOf({ pid, uid, wasStarted }: SuccessorProcess): Requester {
    return wasStarted ? { by: 'supervisor', pid: this.#means.env.parentPid } : { by: 'takeover', pid, uid };
  }
}

function recordFailure(record: HandoverRecord, error: unknown): void {
  record.failed(error);
  record.end('failed', error);
}
