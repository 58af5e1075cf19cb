// The supervisor process: it keeps its pid, holds the listeners, starts the workers and replaces them. Requests run one after
// another.

import { HandoverError, rangeError } from '../errors.js';
import { changesBetween } from '../platform/release.js';
import type { ServiceManager } from '../platform/service-manager.js';
import type { ChargeStatus, ListenerStatus } from '../protocol/control-commands.js';
import type { Handler, Params } from '../protocol/rpc.js';
import { describeWorker } from './describe.js';
import { Door } from './door.js';
import { lend } from './lending.js';
import { Listeners, parseListen } from './listeners.js';
import { currentRelease, type Program, type Release } from './program.js';
import { Roll, type RollOptions } from './roll.js';
import { Slot, type SlotHost } from './slot.js';
import type { Worker, WorkerStart } from './worker.js';

export interface SupervisorOptions extends RollOptions {
  readonly program: Program;
  readonly workers: number;
  /** `name=tcp://host:port`, as on the command line. */
  readonly listen: readonly string[];
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  /** Writes a line for the operator. */
  readonly report: (line: string) => void;
  /** systemd, where this process is a service of it. */
  readonly manager?: ServiceManager;
}

export interface UpgradeRequest {
  /** Skips the workers whose release has not changed. @default false */
  readonly ifChanged?: boolean;
}

/** Called for each worker replaced. */
export type OnProgress = (progress: Params) => void;

/** Milliseconds within which a worker that knows this package greets, unless it loads for unusually long. */
const SILENT_AFTER = 2_000;

interface QueuedUpgrade {
  readonly result: Promise<readonly Params[]>;
  readonly onProgress: Set<OnProgress>;
}

export class Supervisor implements SlotHost {
  readonly greeters: WeakSet<Release> = new WeakSet();
  readonly #options: SupervisorOptions;
  readonly #listeners: Listeners;
  readonly #startedAt = Date.now();
  readonly #door: Door | undefined;
  /** Upgrades that have not begun, by `ifChanged`: a second request joins the first. */
  readonly #queued = new Map<boolean, QueuedUpgrade>();
  readonly #leaving = new Set<Slot>();
  #last: Promise<unknown> = Promise.resolve();
  #slots: readonly Slot[] = [];
  /** The release that added workers run. */
  #release: Release;
  #roll: Roll | undefined;
  /** Number of the next roll; 1 is the first. */
  #generation = 1;
  #hasStarted = false;
  #stopped: Promise<boolean> | undefined;

  /** Owns `listeners`, some of which the parent process may have passed. @throws as bind(2); TypeError a bad `listen` */
  constructor(options: SupervisorOptions, listeners: Listeners = new Listeners()) {
    this.#options = options;
    this.#listeners = listeners;
    this.#release = currentRelease(options.program);
    for (const { name, endpoint } of options.listen.map(parseListen)) listeners.declare(name, endpoint);
    listeners.declareRest();
    this.#door = Door.open((pid) => this.#workerOf(pid), options.report);
  }

  get foreignAfter(): number {
    const { settle, progressDeadline } = this.#options;
    return this.#listeners.declared.length > 0 ? Math.max(settle, SILENT_AFTER) : progressDeadline;
  }

  get stopTimeout(): number {
    return this.#options.stopTimeout;
  }

  get listeners(): readonly ListenerStatus[] {
    return this.#listeners.statuses;
  }

  /** The process in charge of each slot. */
  get charges(): readonly ChargeStatus[] {
    return this.#allSlots.map(({ charge }) => charge).filter((charge) => charge !== undefined);
  }

  /** The release of the workers, and the one that an upgrade would start now. */
  get releases(): { readonly old: Release; readonly young: Release } {
    return { old: this.#slots[0]?.release ?? this.#release, young: currentRelease(this.#options.program) };
  }

  get isStopping(): boolean {
    return this.#stopped !== undefined;
  }

  get workerCount(): number {
    return this.#slots.length;
  }

  /** Starts every worker. @throws the error of the first that failed, with all workers stopped */
  async start(): Promise<void> {
    try {
      await this.#inTurn(() => this.#grow(this.#options.workers));
      this.#hasStarted = true;
      this.#options.manager?.ready(this.#generation);
      this.#store();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Replaces the workers with the release as it is when their roll begins, also where a roll has paused. A request during
   * another roll comes next.
   * @throws the error of the failed step, with the old workers serving
   */
  upgrade({ ifChanged = false }: UpgradeRequest = {}, onProgress?: OnProgress): Promise<readonly Params[]> {
    const queued = this.#queued.get(ifChanged) ?? this.#enqueue(ifChanged);
    if (onProgress) queued.onProgress.add(onProgress);
    return queued.result;
  }

  /** Continues a paused roll. @throws ERR_HANDOVER_NOT_READY there is none */
  resume(): Promise<readonly Params[]> {
    return this.#inTurn(() => this.#runRoll(this.#pausedRoll('resume'), (roll) => roll.run()));
  }

  /** Puts back the release of the workers that a paused roll has replaced. @throws ERR_HANDOVER_NOT_READY there is none */
  rollBack(): Promise<readonly Params[]> {
    return this.#inTurn(() => this.#runRoll(this.#pausedRoll('roll back'), (roll) => roll.rollBack()));
  }

  /** Aborts the replacements under way: their workers serve on, and the roll pauses. Resolves with the slots' numbers. */
  async abort(error: HandoverError): Promise<readonly number[]> {
    const given = this.#slots.filter((slot) => slot.abortReplacement(error));
    if (given.length > 0) await this.#last;
    return given.map(({ index }) => index);
  }

  /** Starts workers, or ends some, whose connections go to the others. @throws RangeError; as `start()` */
  scale(count: number): Promise<void> {
    return this.#inTurn(() => this.#scaleTo(count));
  }

  /** Adds `step` workers; a negative one ends workers. */
  scaleBy(step: number): Promise<void> {
    return this.#inTurn(() => this.#scaleTo(this.workerCount + step));
  }

  /** Drains and ends every worker, and closes the listeners. Waits for no request. False: a process had to be killed. */
  stop(): Promise<boolean> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  /** Passes a signal on to every worker. */
  signal(signal: NodeJS.Signals): void {
    for (const { workers } of this.#allSlots) for (const worker of workers) worker.signal(signal);
  }

  /** Has the workers answer `/readyz` with 503; they serve on. */
  announceLeaving(): void {
    for (const { current } of this.#slots) current?.link.tell('leaving');
  }

  /** Kills every worker with all its processes. */
  kill(): void {
    this.#door?.close();
    for (const { workers } of this.#allSlots) for (const worker of workers) worker.kill();
  }

  async status(): Promise<Params> {
    const workers = this.#allSlots.flatMap((slot) => slot.workers.map((worker) => describeWorker(slot, worker)));
    return {
      kind: 'supervisor',
      pid: process.pid,
      ageMs: Date.now() - this.#startedAt,
      phase: this.#phase,
      listeners: this.#listeners.all.map(({ name, address }) => ({ name, address })),
      workers: await Promise.all(workers),
      ...(this.#roll && { roll: this.#roll.status }),
    };
  }

  report(line: string): void {
    this.#options.report(line);
  }

  /** Closes listeners that no worker uses any more: the kernel then refuses their clients instead of letting them wait. */
  onChange(): void {
    if (!this.#hasStarted || this.isStopping || this.#roll?.isRunning) return;
    const isKnown = this.#slots.every(({ current }) => current?.isAware && current.state === 'in-charge');
    if (!isKnown) return;
    const used = this.#allSlots.flatMap(({ workers }) => workers.flatMap(({ listeners }) => listeners));
    this.#listeners.closeUnused(used);
    this.#store();
  }

  workerStart(slot: Slot, release: Release): Omit<WorkerStart, 'channel' | 'onChange'> {
    return {
      // A crashed worker is started from its own release, wherever a `current` symlink leads by now.
      program: release.program,
      listeners: this.#listeners.declared,
      door: this.#door?.path,
      index: slot.index,
      calls: (worker) => this.#callsOf(slot, worker),
    };
  }

  /** The requests that a worker may send. */
  #callsOf(slot: Slot, worker: Worker): Readonly<Record<string, Handler>> {
    return {
      arbiter: () => ({ fds: Int32Array.of(slot.arbiter(worker)) }),
      listener: ({ params }) => lend(this.#listeners, slot, worker, params),
      replace: async () => ({ params: await this.#inTurn(() => this.#replaceBy(slot, worker)) }),
    };
  }

  async #replaceBy(slot: Slot, worker: Worker): Promise<Params> {
    if (slot.current === worker) return slot.replace(currentRelease(this.#options.program), this.#options);
    throw new HandoverError('ERR_HANDOVER_CLOSED', `worker ${slot.index} has been replaced meanwhile`, {
      stillServing: true,
    });
  }

  async #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.isStopping)
        throw new HandoverError('ERR_HANDOVER_CLOSED', 'the supervisor is stopping', { stillServing: true });
      return step();
    });
    this.#last = result.catch(() => {});
    return result;
  }

  #enqueue(ifChanged: boolean): QueuedUpgrade {
    const onProgress = new Set<OnProgress>();
    const result = this.#inTurn(() => {
      this.#queued.delete(ifChanged);
      return this.#rollOut(ifChanged, (progress) => {
        const { slot, pid, ms } = progress;
        this.report(`worker ${String(slot)} is pid ${String(pid)} now, after ${String(ms)} ms`);
        for (const listener of onProgress) listener(progress);
      });
    });
    // A caller without interest in the result reads the error in `report`.
    result.catch(() => this.#queued.delete(ifChanged));
    const queued = { result, onProgress };
    this.#queued.set(ifChanged, queued);
    return queued;
  }

  async #rollOut(ifChanged: boolean, onProgress: OnProgress): Promise<readonly Params[]> {
    const release = currentRelease(this.#options.program);
    const slots = ifChanged
      ? this.#slots.filter((slot) => changesBetween(slot.release.print, release.print).length > 0)
      : this.#slots;
    this.#roll = new Roll(slots, release, this.#options, onProgress);
    return this.#runRoll(this.#roll, (roll) => roll.run());
  }

  async #runRoll(roll: Roll, steps: (roll: Roll) => Promise<readonly Params[]>): Promise<readonly Params[]> {
    this.#options.manager?.reloading(this.#generation);
    try {
      const outcomes = await steps(roll);
      this.#generation += 1;
      return outcomes;
    } catch (error) {
      if (!this.isStopping) this.report(`the roll paused: ${String(roll.status.reason)}`);
      throw error;
    } finally {
      if (roll.isDone) this.#release = roll.release;
      this.#options.manager?.serving(this.#generation, String(roll.status.reason ?? 'the workers were replaced'));
      this.onChange();
    }
  }

  #store(): void {
    this.#options.manager?.store(this.#listeners.ledger);
  }

  #pausedRoll(verb: string): Roll {
    if (this.#roll?.isPaused) return this.#roll;
    throw new HandoverError('ERR_HANDOVER_NOT_READY', `there is no paused roll to ${verb}`, { stillServing: true });
  }

  async #scaleTo(count: number): Promise<void> {
    if (!Number.isSafeInteger(count) || count < 1) throw rangeError('workers', 'an integer >= 1', count);
    if (count >= this.#slots.length) return this.#grow(count);
    const leaving = this.#slots.slice(count);
    this.#slots = this.#slots.slice(0, count);
    for (const slot of leaving) this.#leaving.add(slot);
    const others = this.#slots;
    await Promise.all(leaving.map((slot) => slot.transferTo(others).finally(() => this.#leaving.delete(slot))));
    this.onChange();
  }

  async #grow(count: number): Promise<void> {
    const first = this.#slots.length;
    const added = Array.from({ length: count - first }, (_, i) => new Slot(first + i, this.#release, this));
    this.#slots = [...this.#slots, ...added];
    try {
      await Promise.all(added.map((slot) => slot.start()));
      if (this.#roll?.isPaused) this.#roll.add(added);
    } catch (error) {
      await Promise.all(added.map((slot) => slot.stop()));
      this.#slots = this.#slots.slice(0, first);
      throw error;
    }
  }

  async #stopAll(): Promise<boolean> {
    this.#options.manager?.stopping();
    const results = await Promise.all(this.#allSlots.map((slot) => slot.stop()));
    this.#door?.close();
    this.#listeners.close({ removePaths: !this.#options.manager?.keepsListeners });
    return results.every((isDone) => isDone);
  }

  #workerOf(pid: number): Worker | undefined {
    return this.#allSlots.flatMap(({ workers }) => workers).find((worker) => worker.has(pid));
  }

  get #allSlots(): readonly Slot[] {
    return [...this.#slots, ...this.#leaving];
  }

  get #phase(): string {
    if (this.isStopping) return 'stopping';
    if (!this.#hasStarted) return 'starting';
    if (this.#roll?.isRunning) return 'rolling';
    return this.#roll?.isPaused ? 'paused' : 'serving';
  }
}
