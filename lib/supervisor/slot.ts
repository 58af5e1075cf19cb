// One place among the workers: it has one worker in charge, restarts it when it crashes, and replaces it by a handover.
import type { Params } from '../channel/rpc.js';
import { HandoverError, hasCode } from '../errors.js';
import { settlesWithin } from '../handover/deadline.js';
import type { Exit } from '../handover/env.js';
import { Backoff, Deadline } from './pace.js';
import type { Release } from './program.js';
import { describeExit, giveTo, handOver, overlap, type Succession, throwEarlyEnd } from './succession.js';
import { Worker, type WorkerStart } from './worker.js';

/** What a slot asks of the supervisor. */
export interface SlotHost {
  /** How to start a worker of this slot. */
  workerStart(slot: Slot, release: Release): Omit<WorkerStart, 'channel' | 'onChange'>;
  /**
   * Milliseconds a worker that says nothing must live to count as serving. One that gets no listener from here can only be
   * told from one that is still loading by its patience.
   */
  readonly foreignAfter: number;
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  /** A worker has said something, or ended. */
  onChange(): void;
  /** Something happened that an operator wants to read. */
  report(line: string): void;
}

export interface ReplaceOptions {
  /** Milliseconds until the successor must be in charge. */
  readonly progressDeadline: number;
  /** Milliseconds it is watched after that. */
  readonly settle: number;
}

/** A predecessor that drains is back in charge within this, when its successor has died, or it is hung. */
const RECALL_GRACE = 5_000;

export class Slot {
  readonly index: number;
  /** The release that a worker is started with when the one in charge crashes. */
  release: Release;
  readonly #host: SlotHost;
  readonly #workers = new Set<Worker>();
  readonly #spawning = new Set<Promise<unknown>>();
  readonly #backoff = new Backoff();
  readonly #stopping = new AbortController();
  #current: Worker | undefined;
  #hasServed = false;
  #isReplacing = false;
  #isRecovering = false;

  constructor(index: number, release: Release, host: SlotHost) {
    this.index = index;
    this.release = release;
    this.#host = host;
  }

  /** The worker in charge, or the one that is to be. */
  get current(): Worker | undefined {
    return this.#current;
  }

  /** With those that drain. */
  get workers(): readonly Worker[] {
    return [...this.#workers];
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Starts a worker that succeeds none. Resolves when it serves. @throws ERR_HANDOVER_SUCCESSOR_EXITED, …SPAWN_FAILED */
  async start(): Promise<void> {
    this.#backoff.onStart();
    await this.#startAlone(this.release);
    this.#hasServed = true;
    this.#keepUp();
  }

  /** Puts a worker of that release in charge. @throws HandoverError the one before serves on, or one of its release */
  async replace(release: Release, { progressDeadline, settle }: ReplaceOptions): Promise<Params> {
    this.#expectFree();
    this.#isReplacing = true;
    this.#backoff.cancel();
    const what = `worker ${this.index} was not replaced within ${progressDeadline} ms (--progress-deadline)`;
    const deadline = new Deadline(progressDeadline, what);
    try {
      const { successor, outcome } = await this.#succeed(release, deadline);
      await this.#settles(successor, settle);
      this.release = release;
      this.#backoff.reset();
      return outcome;
    } finally {
      deadline.clear();
      this.#isReplacing = false;
      this.#keepUp();
    }
  }

  /** Ends every worker; what is open drains first. False: one had to be killed. */
  async stop(): Promise<boolean> {
    this.#stopping.abort();
    this.#backoff.cancel();
    await Promise.allSettled(this.#spawning);
    const results = await Promise.all(this.workers.map((worker) => worker.stop(this.#host.stopTimeout)));
    return results.every((isDone) => isDone);
  }

  /** Ends the worker after it has given its connections to others; those that cannot move drain. */
  async leaveTo(others: readonly Worker[]): Promise<boolean> {
    this.#stopping.abort();
    this.#backoff.cancel();
    const worker = this.#current;
    const heirs = others.filter(({ isAware, hasEnded }) => isAware && !hasEnded);
    if (worker?.isAware && !worker.hasEnded && heirs.length > 0) {
      // What a generation before it still drains would be cut off with it.
      const older = this.workers.filter((other) => other !== worker);
      await settlesWithin(Promise.all(older.map(({ exited }) => exited)), this.#host.stopTimeout);
      await giveTo(worker, heirs)
        .then(() => settlesWithin(worker.exited, this.#host.stopTimeout))
        .catch((error: Error) => this.#host.report(`worker ${this.index} drains: ${error.message}`));
    }
    return this.stop();
  }

  #expectFree(): void {
    if (this.isStopping) throw closed(`worker ${this.index} is leaving`);
    if (!this.#isReplacing) return;
    throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', `worker ${this.index} is being replaced already`);
  }

  async #succeed(release: Release, deadline: Deadline): Promise<Succession> {
    const former = this.#current;
    // One that has just been started, after a crash.
    if (former?.isAware && former.state === 'starting')
      await deadline.cuts(Promise.race([former.inCharge.promise, former.exited]));
    if (!former || former.hasEnded) {
      const successor = await this.#startAlone(release, deadline);
      return { successor, outcome: { pid: successor.pid, generation: successor.generation } };
    }
    const options = { deadline, stopTimeout: this.#host.stopTimeout };
    const spawn = (channel?: number): Promise<Worker> => this.#spawn(release, channel);
    if (former.isAware) return handOver(former, spawn, options);
    const succession = await overlap(former, spawn, (worker) => this.#serves(worker), options);
    this.#current = succession.successor;
    return succession;
  }

  /** The one before, if any, has crashed. */
  async #startAlone(release: Release, deadline?: Deadline): Promise<Worker> {
    const worker = await this.#spawn(release);
    this.#current = worker;
    try {
      const serves = this.#serves(worker);
      await (deadline ? deadline.cuts(serves) : serves);
      return worker;
    } catch (error) {
      if (!worker.hasEnded) await worker.stop(0);
      throw error;
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
    void worker.exited.then((exit) => this.#onExit(worker, exit));
    if (!this.isStopping) return worker;
    await worker.stop(this.#host.stopTimeout);
    throw closed(`worker ${this.index} is leaving`);
  }

  /** In charge; or, for one that says nothing, alive for a while. */
  async #serves(worker: Worker): Promise<void> {
    const exited = worker.exited.then((exit) => throwEarlyEnd(worker, exit));
    exited.catch(() => {});
    await settlesWithin(Promise.race([worker.inCharge.promise, exited]), this.#host.foreignAfter);
    if (worker.isAware) await Promise.race([worker.inCharge.promise, exited]);
  }

  /** @throws ERR_HANDOVER_SUCCESSOR_EXITED the worker just put in charge is so no more */
  async #settles(worker: Worker, settle: number): Promise<void> {
    await settlesWithin(worker.exited, settle);
    if (worker === this.#current && !worker.hasEnded) return;
    const message = `worker ${this.index} (pid ${worker.pid}) ended within ${settle} ms after it was put in charge`;
    throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, { phase: 'DRAIN' });
  }

  #onChange(worker: Worker): void {
    // By its predecessor's word, or its death; or again, by its successor's.
    if (worker.state === 'in-charge') this.#current = worker;
    this.#host.onChange();
  }

  #onExit(worker: Worker, exit: Exit): void {
    this.#workers.delete(worker);
    if (worker === this.#current && this.#hasServed && !this.isStopping) {
      this.#host.report(`worker ${this.index} (pid ${worker.pid}) ended with ${describeExit(exit)}`);
    }
    this.#keepUp();
    this.#host.onChange();
  }

  /** Sees to it that the slot has a worker; one loop at a time. */
  #keepUp(): void {
    if (this.#isRecovering || !this.#isVacant) return;
    this.#isRecovering = true;
    void this.#recover();
  }

  get #isVacant(): boolean {
    return this.#hasServed && !this.isStopping && !this.#isReplacing && (this.#current?.hasEnded ?? false);
  }

  async #recover(): Promise<void> {
    while (this.#isVacant) await this.#fill();
    this.#isRecovering = false;
  }

  /** Meanwhile the listeners are open, and who connects waits. */
  async #fill(): Promise<void> {
    // The newest that drains: it takes back what its successor had.
    const heir = this.#current?.hasLeft
      ? undefined
      : this.workers.findLast(({ state, hasLeft }) => isHeir(state, hasLeft));
    if (heir && (await this.#isBack(heir))) {
      this.#current = heir;
      return;
    }
    const delay = this.#backoff.next();
    this.#host.report(`worker ${this.index} is started again in ${delay} ms`);
    await this.#backoff.sleep(delay);
    if (!this.#isVacant) return;
    // Of one that was started its end has been reported.
    await this.start().catch((error: Error) => {
      if (hasCode(error, 'ERR_HANDOVER_SPAWN_FAILED')) this.#host.report(error.message);
    });
  }

  async #isBack(heir: Worker): Promise<boolean> {
    await settlesWithin(Promise.race([heir.inCharge.promise, heir.exited]), RECALL_GRACE);
    return heir.state === 'in-charge';
  }
}

function isHeir(state: Worker['state'], hasLeft: boolean): boolean {
  return !hasLeft && (state === 'in-charge' || state === 'superseded');
}

function closed(message: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_CLOSED', message);
}
