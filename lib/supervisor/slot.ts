// One slot of the supervisor: it has one worker in charge, restarts it when it crashes, and replaces it by a handover. Changes
// do not overlap: a replacement waits for a start or a recall under way, and ends a start that takes too long.

import { HandoverError, hasCode } from '../errors.js';
import { SharedFile } from '../fd/shared-file.js';
import { ARBITER, chargeStatus } from '../handover/arbiter.js';
import type { Exit } from '../platform/env.js';
import type { ChargeStatus } from '../protocol/control-commands.js';
import { settlesWithin } from '../protocol/deadline.js';
import type { Params } from '../protocol/rpc.js';
import { EXIT_GRACE, STOP_GRACE } from '../protocol/timeouts.js';
import { Backoff, Deadline } from './pace.js';
import type { Release } from './program.js';
import { canReceive, describeExit, handOver, leave, overlap, type Succession, throwEarlyEnd } from './succession.js';
import { Worker, type WorkerStart } from './worker.js';

/** A draining predecessor whose successor has died takes charge again within this time, or it hangs. */
const RECALL_GRACE = 5_000;

/** The share of its deadline for which a replacement waits for a start under way: that start may never end. */
const WAITING_SHARE = 0.5;

/** What a slot needs of the supervisor. */
export interface SlotHost {
  /** The parameters to start a worker of this slot. */
  workerStart(slot: Slot, release: Release): Omit<WorkerStart, 'channel' | 'onChange'>;
  /**
   * Milliseconds that a silent worker must live to count as serving. Only this time tells a foreign worker, which gets no
   * listener from the supervisor, from a worker that still loads.
   */
  readonly foreignAfter: number;
  /** Releases of which a worker has greeted: another worker of the release that is silent still loads. */
  readonly greeters: WeakSet<Release>;
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  /** A worker has reported a change, or ended. */
  onChange(): void;
  /** Writes a line for the operator. */
  report(line: string): void;
}

export interface ReplaceOptions {
  /** Milliseconds until the successor must be in charge. */
  readonly progressDeadline: number;
  /** Milliseconds for which the slot watches it after that. */
  readonly settle: number;
}

export class Slot {
  readonly index: number;
  /** The release that a worker is started with when the one in charge crashes. */
  release: Release;
  readonly #host: SlotHost;
  readonly #workers = new Set<Worker>();
  readonly #spawning = new Set<Promise<unknown>>();
  readonly #backoff = new Backoff();
  readonly #stopping = new AbortController();
  readonly #dismissed = new Set<Worker>();
  readonly #releases = new WeakMap<Worker, Release>();
  /** The ends of processes that ended workers have left behind. */
  readonly #rests = new Set<Promise<boolean>>();
  #arbiter: SharedFile | undefined;
  /** A worker without a predecessor that does not serve yet. */
  #starting: Worker | undefined;
  #current: Worker | undefined;
  #hasServed = false;
  #isReplacing = false;
  /** Deadline of the replacement under way. */
  #deadline: Deadline | undefined;
  /** Settles when the slot has a worker again, or a replacement fills it. */
  #recovery: Promise<void> | undefined;

  constructor(index: number, release: Release, host: SlotHost) {
    this.index = index;
    this.release = release;
    this.#host = host;
  }

  /** The worker in charge, or the one that will be. */
  get current(): Worker | undefined {
    return this.#current;
  }

  /** All workers, also the draining ones. */
  get workers(): readonly Worker[] {
    return [...this.#workers];
  }

  /** Gives a ready worker its own descriptor of the file that decides which worker is in charge. @throws as memfd_create(2) */
  arbiter(worker: Worker): number {
    worker.asksForCharge.resolve();
    this.#arbiter ??= SharedFile.create(ARBITER);
    return this.#arbiter.reopen();
  }

  /** Undefined while no worker has asked for the arbiter. */
  get charge(): ChargeStatus | undefined {
    return this.#arbiter && { slot: this.index, ...chargeStatus(this.#arbiter) };
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Starts the first worker. Resolves when it serves. @throws ERR_HANDOVER_SUCCESSOR_EXITED, …SPAWN_FAILED */
  async start(): Promise<void> {
    await this.#startAnew();
    this.#hasServed = true;
    this.#keepUp();
  }

  /** Puts a worker of that release in charge. @throws HandoverError the former worker, or another of its release, serves on */
  async replace(release: Release, { progressDeadline, settle }: ReplaceOptions): Promise<Params> {
    this.#expectFree();
    this.#isReplacing = true;
    const what = `worker ${this.index} was not replaced within ${progressDeadline} ms (--progress-deadline)`;
    const deadline = new Deadline(progressDeadline, what);
    this.#deadline = deadline;
    try {
      await deadline.cuts(this.#endRecovery(progressDeadline * WAITING_SHARE, deadline));
      const { successor, outcome } = await this.#succeed(release, deadline);
      // An abort comes too late from here on: the new worker is in charge.
      this.#deadline = undefined;
      await this.#settles(successor, settle);
      this.release = release;
      this.#backoff.reset();
      return outcome;
    } finally {
      deadline.clear();
      this.#deadline = undefined;
      this.#isReplacing = false;
      this.#keepUp();
    }
  }

  /** Aborts the replacement under way with this error. False: there is none. */
  abortReplacement(error: HandoverError): boolean {
    this.#deadline?.expire(error);
    return this.#deadline !== undefined;
  }

  /** Ends every worker after its connections have drained. False: a process had to be killed. */
  async stop(): Promise<boolean> {
    this.#stopping.abort();
    this.#backoff.cancel();
    await Promise.allSettled(this.#spawning);
    const results = await Promise.all(this.workers.map((worker) => worker.stop(this.#host.stopTimeout)));
    results.push(...(await Promise.all(this.#rests)));
    this.#arbiter?.close();
    this.#arbiter = undefined;
    return results.every((isDone) => isDone);
  }

  /** Ends the worker after it has given its connections to others; connections that cannot migrate drain. */
  async transferTo(others: readonly Slot[]): Promise<boolean> {
    this.#stopping.abort();
    this.#backoff.cancel();
    const worker = this.#current;
    if (worker?.isAware && !worker.hasEnded) {
      const heirs = await this.#heirsAmong(others, worker);
      // Stopping the slot would cut the connections that older generations still drain.
      const older = heirs.length === 0 ? [] : this.workers.filter((other) => other !== worker);
      await settlesWithin(Promise.all(older.map(({ exited }) => exited)), this.#host.stopTimeout);
      if (heirs.length > 0 && !worker.hasEnded) await leave(worker, heirs, this.#host);
    }
    return this.stop();
  }

  /** Waits, where no other slot serves at this moment, for a restart or a recall in one of them. */
  async #heirsAmong(others: readonly Slot[], worker: Worker): Promise<readonly Worker[]> {
    const heirs = (): Worker[] =>
      others.flatMap((slot) => (slot.#current && isServing(slot.#current) ? slot.#current : []));
    if (heirs().length > 0) return heirs();
    const recoveries = others.flatMap((slot) => slot.#recovery ?? []);
    await settlesWithin(
      Promise.race([...recoveries, worker.exited]),
      recoveries.length > 0 ? this.#host.stopTimeout : 0,
    );
    return heirs();
  }

  #expectFree(): void {
    if (this.isStopping) throw closed(`worker ${this.index} is leaving`);
    if (!this.#isReplacing) return;
    throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', `worker ${this.index} is being replaced already`, {
      stillServing: true,
    });
  }

  /** Cuts a restart delay short, waits `patience` ms for a recall or a start, and ends a start that takes longer. */
  async #endRecovery(patience: number, deadline: Deadline): Promise<void> {
    this.#backoff.cancel();
    if (!this.#recovery || (await settlesWithin(this.#recovery, patience))) return;
    // The replacement was aborted meanwhile: the start may go on.
    if (deadline.isOver) return;
    const starting = this.#current;
    this.#host.report(
      `worker ${this.index} (pid ${starting?.pid}) has not started within ${patience} ms: it makes way`,
    );
    await starting?.stop(STOP_GRACE);
    await this.#recovery;
  }

  async #succeed(release: Release, deadline: Deadline): Promise<Succession> {
    const former = this.#current;
    // A worker that has begun to end accepts no more, and hands nothing over.
    if (!former || former.hasEnded || former.hasLeft) {
      const successor = await this.#startAlone(release, deadline);
      return { successor, outcome: { pid: successor.pid, generation: successor.generation } };
    }
    const spawn = (channel?: number): Promise<Worker> => this.#spawn(release, channel);
    if (former.isAware) return handOver(former, spawn, { deadline, stopTimeout: this.#host.stopTimeout });
    const serves = (worker: Worker): Promise<void> =>
      this.#serves(worker, () => former.isAware || this.#greets(release));
    const succession = await overlap(former, spawn, serves, { deadline, host: this.#host });
    this.#current = succession.successor;
    return succession;
  }

  async #startAnew(): Promise<void> {
    this.#backoff.onStart();
    await this.#startAlone(this.release);
  }

  /** Starts a worker without a predecessor: the former one, if any, has crashed or is ending. */
  async #startAlone(release: Release, deadline?: Deadline): Promise<Worker> {
    const worker = await this.#spawn(release);
    this.#current = worker;
    this.#starting = worker;
    try {
      const serves = this.#serves(worker, () => this.#greets(release));
      await (deadline ? deadline.cuts(serves) : serves);
      return worker;
    } catch (error) {
      if (!worker.hasEnded) await worker.stop(0);
      throw error;
    } finally {
      this.#starting = undefined;
    }
  }

  #spawn(release: Release, channel?: number): Promise<Worker> {
    const spawned = this.#startWorker(release, channel);
    this.#spawning.add(spawned);
    const forget = (): boolean => this.#spawning.delete(spawned);
    spawned.then(forget, forget);
    return spawned;
  }

  async #startWorker(release: Release, channel: number | undefined): Promise<Worker> {
    const start = this.#host.workerStart(this, release);
    const onChange = (changed: Worker): void => this.#onChange(changed);
    const worker = await Worker.start({ ...start, onChange, ...(channel !== undefined && { channel }) });
    this.#workers.add(worker);
    this.#releases.set(worker, release);
    void worker.greeted.promise.then(() => this.#host.greeters.add(release));
    void worker.exited.then((exit) => this.#onExit(worker, exit));
    if (!this.isStopping) return worker;
    await worker.stop(this.#host.stopTimeout);
    throw closed(`worker ${this.index} is leaving`);
  }

  /** Whether a worker of that release will greet: another worker of it did, or one of the release in charge. */
  #greets(release: Release): boolean {
    return this.#host.greeters.has(release) || this.#host.greeters.has(this.release);
  }

  /** Resolves when the worker is in charge; a silent worker, of which no greeting `isExpected`, must live for a while. */
  async #serves(worker: Worker, isExpected: () => boolean): Promise<void> {
    const exited = worker.exited.then((exit) => throwEarlyEnd(worker, exit));
    exited.catch(() => {});
    await settlesWithin(Promise.race([worker.inCharge.promise, exited]), this.#host.foreignAfter);
    if (worker.isAware || isExpected()) await Promise.race([worker.inCharge.promise, exited]);
  }

  /** @throws ERR_HANDOVER_SUCCESSOR_EXITED the worker just put in charge has ended, or is not in charge any more */
  async #settles(worker: Worker, settle: number): Promise<void> {
    await settlesWithin(worker.exited, settle);
    if (worker === this.#current && !worker.hasEnded) return;
    const message = `worker ${this.index} (pid ${worker.pid}) ended within ${settle} ms after it was put in charge`;
    throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, { phase: 'DRAIN', stillServing: true });
  }

  #onChange(worker: Worker): void {
    // The predecessor handed over or died, or the successor did and the worker took back.
    const isFree = this.#isReplacing || this.#current?.state !== 'in-charge';
    if (worker.state === 'in-charge' && isFree) this.#current = worker;
    if (this.#current === worker && !this.#isReplacing) this.#keepRelease(worker);
    this.#endSpare();
    this.#dismissOthers();
    this.#keepUp();
    this.#host.onChange();
  }

  /** A worker that took back runs the former release: a restart uses that release, and a roll compares with it. */
  #keepRelease(worker: Worker): void {
    this.release = this.#releases.get(worker) ?? this.release;
  }

  /** Ends a worker that was started in place of an older one, when the older one took back late: the charge is not free. */
  #endSpare(): void {
    const spare = this.#starting;
    if (!spare || spare === this.#current || this.#current?.state !== 'in-charge' || spare.state !== 'starting') return;
    this.#starting = undefined;
    this.#host.report(`worker ${this.index} is pid ${this.#current.pid} again: pid ${spare.pid} is not needed`);
    void leave(spare, [this.#current], this.#host);
  }

  #onExit(worker: Worker, exit: Exit): void {
    this.#workers.delete(worker);
    if (worker.mayLeaveOthers) this.#endRest(worker);
    if (worker === this.#current && this.#hasServed && !this.isStopping) {
      this.#host.report(`worker ${this.index} (pid ${worker.pid}) ended with ${describeExit(exit)}`);
    }
    this.#keepUp();
    this.#host.onChange();
  }

  #endRest(worker: Worker): void {
    const rest = worker.endRest(this.#host.stopTimeout);
    this.#rests.add(rest);
    void rest.then(() => this.#rests.delete(rest));
  }

  /**
   * Two workers can be in charge: the supervisor gave one up that did not answer in time, and later it took back the charge of
   * its successor. The surplus worker gives its connections to the current one.
   */
  #dismissOthers(): void {
    if (this.#isReplacing || this.isStopping) return;
    for (const other of this.#workers) {
      if (!this.#isSurplus(other) || this.#dismissed.has(other)) continue;
      this.#dismissed.add(other);
      void this.#dismiss(other);
    }
  }

  #isSurplus(worker: Worker): boolean {
    return worker.state === 'in-charge' && worker !== this.#current && this.#current?.state === 'in-charge';
  }

  async #dismiss(worker: Worker): Promise<void> {
    // The report may come from a worker that has just died, or from a handover that the other worker has not reported yet.
    await settlesWithin(worker.exited, EXIT_GRACE);
    this.#dismissed.delete(worker);
    if (!this.#isSurplus(worker) || this.isStopping || !this.#current) return;
    this.#dismissed.add(worker);
    const { pid } = this.#current;
    this.#host.report(
      `worker ${this.index} (pid ${worker.pid}) is in charge beside pid ${pid}, which gets its connections`,
    );
    await leave(worker, [this.#current], this.#host);
  }

  /** Starts a recovery where the slot has no worker. */
  #keepUp(): void {
    if (this.#recovery || !this.#isVacant) return;
    this.#recovery = this.#recover().finally(() => {
      this.#recovery = undefined;
      this.#dismissOthers();
      this.#keepUp();
    });
  }

  get #isVacant(): boolean {
    if (!this.#hasServed || this.isStopping || this.#isReplacing) return false;
    return this.#current !== undefined && (this.#current.hasEnded || this.#current.hasLeft);
  }

  async #recover(): Promise<void> {
    while (this.#isVacant) await this.#fill();
  }

  /** Gets the slot a worker. Meanwhile the listeners are open, and new connections wait. */
  async #fill(): Promise<void> {
    const former = this.#current;
    // The newest draining worker takes back the charge of its successor, unless the successor had begun to end by itself.
    const isGone = former?.hasEnded && former.hasLeft;
    const heir = isGone ? undefined : this.workers.findLast(({ state, hasLeft }) => isHeir(state, hasLeft));
    if (heir && (await this.#isBack(heir))) {
      this.#current = heir;
      this.#keepRelease(heir);
      return;
    }
    if (!this.#isVacant) return;
    const delay = this.#backoff.next();
    this.#host.report(`worker ${this.index} is started again in ${delay} ms`);
    await this.#backoff.sleep(delay);
    if (!this.#isVacant) return;
    // The end of a started worker is reported already; a failed spawn is not.
    await this.#startAnew().catch((error: Error) => {
      if (hasCode(error, 'ERR_HANDOVER_SPAWN_FAILED')) this.#host.report(error.message);
    });
  }

  async #isBack(heir: Worker): Promise<boolean> {
    await settlesWithin(Promise.race([heir.inCharge.promise, heir.exited]), RECALL_GRACE);
    return heir.state === 'in-charge';
  }
}

function isServing(worker: Worker): boolean {
  return canReceive(worker) && worker.state === 'in-charge';
}

function isHeir(state: Worker['state'], hasLeft: boolean): boolean {
  return !hasLeft && (state === 'in-charge' || state === 'superseded');
}

function closed(message: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_CLOSED', message, { stillServing: true });
}
