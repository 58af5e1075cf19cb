// The process that stays: it keeps the pid, holds the listeners, starts the workers and replaces them.
import type { Answer, Handler, Params } from '../channel/rpc.js';
import { HandoverError } from '../errors.js';
import type { Place } from '../ledger/address.js';
import { Listeners, parseListen, reviveBind } from './listeners.js';
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
  /** Lines for the operator. */
  readonly report: (line: string) => void;
}

export class Supervisor implements SlotHost {
  readonly #options: SupervisorOptions;
  readonly #listeners: Listeners;
  readonly #startedAt = Date.now();
  #slots: readonly Slot[] = [];
  #roll: Roll | undefined;
  #isStopping = false;

  /** Holds `listeners`, which may have been inherited. @throws as bind(2); TypeError a bad `listen` */
  constructor(options: SupervisorOptions, listeners: Listeners = new Listeners()) {
    this.#options = options;
    this.#listeners = listeners;
    for (const { name, place } of options.listen.map(parseListen)) listeners.declare(name, place);
  }

  get settle(): number {
    return this.#options.settle;
  }

  get foreignAfter(): number {
    return this.#listeners.declared.length > 0 ? this.#options.settle : this.#options.progressDeadline;
  }

  get stopTimeout(): number {
    return this.#options.stopTimeout;
  }

  /** Whether a process is one of the workers. */
  isWorker(pid: number): boolean {
    return this.#slots.some(({ workers }) => workers.some((worker) => worker.pid === pid));
  }

  /** Starts every worker. @throws the first one's failure, with all of them stopped */
  async start(): Promise<void> {
    try {
      await this.#grow(this.#options.workers);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Replaces the workers one after the other. @throws what went wrong, with the old workers serving */
  async upgrade(
    { ifChanged = false }: { readonly ifChanged?: boolean } = {},
    onProgress: (progress: Params) => void = () => {},
  ): Promise<readonly Params[]> {
    if (this.#roll && !this.#roll.isOver) {
      const { state, reason } = this.#roll.status;
      const message = `a roll is ${String(state)}${reason === undefined ? '' : ` (${String(reason)})`}: resume it or roll it back first`;
      throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', message);
    }
    const release = currentRelease(this.#options.program);
    const slots = ifChanged ? this.#slots.filter((slot) => slot.release.identity !== release.identity) : this.#slots;
    this.#roll = new Roll(slots, release, this.#options, onProgress);
    return this.#runRoll(this.#roll, () => this.#roll?.run());
  }

  /** Goes on with a roll that paused. */
  async resume(): Promise<readonly Params[]> {
    const roll = this.#pausedRoll('resume');
    return this.#runRoll(roll, () => roll.run());
  }

  /** Puts back the release of the workers that a paused roll has replaced. */
  async rollBack(): Promise<readonly Params[]> {
    const roll = this.#pausedRoll('roll back');
    return this.#runRoll(roll, () => roll.rollBack());
  }

  /** Starts workers, or has some leave; their connections go to the others. */
  async scale(count: number): Promise<void> {
    if (!Number.isSafeInteger(count) || count < 1)
      throw new RangeError(`"workers" must be at least 1. Received ${count}`);
    if (count > this.#slots.length) return this.#grow(count);
    const leaving = this.#slots.slice(count);
    this.#slots = this.#slots.slice(0, count);
    const others = this.#slots.map(({ current }) => current).filter((worker) => worker !== undefined);
    await Promise.all(leaving.map((slot) => slot.leaveTo(others)));
  }

  get workerCount(): number {
    return this.#slots.length;
  }

  /** Ends every worker, which drains, and closes the listeners. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#slots.map((slot) => slot.stop()));
    this.#listeners.close();
  }

  /** Passes a signal on to every worker. */
  signal(signal: NodeJS.Signals): void {
    for (const { workers } of this.#slots) for (const worker of workers) worker.signal(signal);
  }

  async status(): Promise<Params> {
    const workers = await Promise.all(
      this.#slots.flatMap((slot) => slot.workers.map((worker) => describeWorker(slot, worker))),
    );
    return {
      kind: 'supervisor',
      pid: process.pid,
      ageMs: Date.now() - this.#startedAt,
      phase: this.#isStopping ? 'stopping' : this.#roll?.isRunning ? 'rolling' : 'serving',
      listeners: this.#listeners.all.map(({ name, address }) => ({ name, address })),
      workers,
      ...(this.#roll && { roll: this.#roll.status }),
    };
  }

  report(line: string): void {
    this.#options.report(line);
  }

  workerStart(slot: Slot, release: Release): Omit<WorkerStart, 'channel'> {
    return {
      // The one that crashed comes back as it was, wherever a `current` symlink leads by now.
      program: release.program,
      listeners: this.#listeners.declared,
      index: slot.index,
      calls: () => this.#callsOf(slot),
    };
  }

  /** What a worker may ask. */
  #callsOf(slot: Slot): Readonly<Record<string, Handler>> {
    return {
      listener: ({ params }) => this.#lend(params),
      // It asks for its own end: the answer may find nobody.
      replace: async () => ({ params: await slot.replace(currentRelease(this.#options.program)) }),
    };
  }

  #lend({ name, kind, canonical, bind }: Params): Answer {
    const place = { kind, canonical, bind: reviveBind(bind) } as Place;
    const { fd, file } = this.#listeners.lend(String(name), place);
    return { params: { file }, fds: Int32Array.of(fd) };
  }

  async #grow(count: number): Promise<void> {
    const release = currentRelease(this.#options.program);
    const first = this.#slots.length;
    const added = Array.from({ length: count - first }, (_, i) => new Slot(first + i, release, this));
    this.#slots = [...this.#slots, ...added];
    await Promise.all(added.map((slot) => slot.start()));
  }

  #pausedRoll(verb: string): Roll {
    if (this.#roll && !this.#roll.isOver && !this.#roll.isRunning) return this.#roll;
    throw new HandoverError('ERR_HANDOVER_NOT_READY', `there is no paused roll to ${verb}`);
  }

  async #runRoll(roll: Roll, steps: () => Promise<readonly Params[]> | undefined): Promise<readonly Params[]> {
    try {
      return (await steps()) ?? [];
    } catch (error) {
      this.report(`the roll paused: ${String(roll.status.reason)}`);
      throw error;
    }
  }
}

async function describeWorker(slot: Slot, worker: Worker): Promise<Params> {
  const { pid, state, startedAt, isAware, generation } = worker;
  const known = { slot: slot.index, pid, state, ageMs: Date.now() - startedAt, isAware };
  if (!isAware || worker.hasEnded) return known;
  const { params } = await worker.link.call('status').catch(() => ({ params: { generation } }));
  return { ...known, ...params };
}
