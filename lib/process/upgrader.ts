// The handovers this process gives: started by itself or dialled in, at once or by way of a standby, one at a time.

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

/** What it takes to start a successor, and to hand over to it. */
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

/** This process, as those who ask for a handover find it. */
export interface UpgradingProcess {
  describe(): { readonly hello: Hello; readonly isInCharge: boolean; readonly draining: readonly DrainingGeneration[] };
  /** @throws ERR_HANDOVER_CLOSED, ERR_HANDOVER_NOT_READY */
  expectInCharge(): void;
}

/** What a handover ends with. */
export interface UpgradeEnds {
  /** The successor is in charge: serve what is open to its end, then leave. */
  superseded(outgoing: OutgoingHandover, process: SuccessorProcess): void;
  /** Neither is this process in charge any more, nor the successor: end. */
  relieved(): void;
  /** A successor that took this process for dead, and has ended, may have written the pid file: it is this one's again. */
  reassert(): void;
}

interface Attempt {
  readonly record: HandoverRecord;
  outgoing?: OutgoingHandover;
  process?: SuccessorProcess;
  /** Ready, and waiting for somebody to commit it. */
  isStandby?: boolean;
  /** Why it must end, where that was said before there was anything to end. */
  reason?: unknown;
  /** Settles when the attempt is over, one way or the other. */
  over: Promise<unknown>;
}

export class Upgrader {
  readonly #means: UpgraderMeans;
  readonly #process: UpgradingProcess;
  readonly #ends: UpgradeEnds;
  /** From the first look at the options until the successor is in charge, or the attempt has failed. */
  #attempt: Attempt | undefined;

  constructor(means: UpgraderMeans, process: UpgradingProcess, ends: UpgradeEnds) {
    this.#means = means;
    this.#process = process;
    this.#ends = ends;
  }

  /** Of the handover under way. */
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
    // Lost, discarded or committed already.
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

  /** A process dialled in: it takes over, or is told why not. */
  async takeOver(channel: Channel, process: SuccessorProcess): Promise<void> {
    // Nobody here waits for it: a failure has been published.
    await this.replace(channel, process).catch(() => {});
  }

  /** The same, for somebody who waits for the outcome. */
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

  /** Ends what is under way and waits for its end. Resolves with the phase it was in; undefined: there was nothing. */
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

  /** One at a time: runs the steps, and takes everything back when one fails. */
  async #run<T>(options: UpgradeOptions, steps: (attempt: Attempt) => Promise<T>): Promise<T> {
    const { signal, requester = { by: 'app', pid: this.#means.env.pid }, profile } = options;
    signal?.throwIfAborted();
    const { manager } = this.#means;
    const { isInCharge, hello } = this.#process.describe();
    // Also where it is refused next: whoever asked by way of systemd waits for an answer. Not into another one's handover.
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

  /** `isOwn`: this process would start its successor itself. */
  #expectFree(isOwn: boolean): void {
    try {
      this.#process.expectInCharge();
    } catch (error) {
      // A process that may never hand over hears that, and not that it is too early: a cluster primary gets no readier.
      if (isOwn && hasCode(error, 'ERR_HANDOVER_NOT_READY') && !this.#means.options.allowOrphan)
        refuseOrphan(this.#means.env, this.#means.manager.isPresent);
      throw error;
    }
    if (this.#attempt) {
      const message = 'another handover of this process is under way, or a standby is waiting: commit or discard it';
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
      // A process that drains needs them for what moves.
      if (this.#process.describe().isInCharge) this.#means.reserve.hold();
    }
  }

  /** Everything that can refuse does so before the process is started. */
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
    // Said while the process was being started.
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
