// One place among the workers: it has one worker in charge, restarts it when it crashes, and replaces it by a handover.
import type { Params } from '../channel/rpc.js';
import { HandoverError, hasCode } from '../errors.js';
import { closeFd, socketpair } from '../fd/index.js';
import { openPidfd } from '../fd/pidfd.js';
import { settlesWithin, sleep } from '../handover/deadline.js';
import type { Exit } from '../handover/env.js';
import type { Release } from './program.js';
import { Worker, type WorkerStart } from './worker.js';

/** What a slot asks of the supervisor. */
export interface SlotHost {
  /** How to start a worker of this slot. */
  workerStart(slot: Slot, release: Release): Omit<WorkerStart, 'channel'>;
  /**
   * Milliseconds a worker that says nothing must live to count as serving. One that gets no listener from here can only be
   * told from one that is still loading by its patience.
   */
  readonly foreignAfter: number;
  /** Milliseconds a successor may take to say that it is in charge when its predecessor has died. */
  readonly settle: number;
  /** Milliseconds a worker may take to drain and end. */
  readonly stopTimeout: number;
  /** Something happened that an operator wants to read. */
  report(line: string): void;
}

const FIRST_DELAY = 100;
const LONGEST_DELAY = 10_000;
/** A worker that lived so long had started well: its crash is a new one. */
const HEALTHY_AFTER = 10_000;

export class Slot {
  readonly index: number;
  /** The release of the worker in charge. */
  release: Release;
  readonly #host: SlotHost;
  readonly #workers = new Set<Worker>();
  #current: Worker | undefined;
  #isReplacing = false;
  #isStopping = false;
  #crashes = 0;

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

  /** Starts a worker that succeeds none. Resolves when it serves. @throws ERR_HANDOVER_SUCCESSOR_EXITED, …SPAWN_FAILED */
  async start(): Promise<void> {
    const worker = await this.#spawn(this.release);
    this.#current = worker;
    await this.#serves(worker);
  }

  /** Hands the slot over to a worker of that release. @throws HandoverError the one in charge serves on */
  async replace(release: Release): Promise<Params> {
    if (this.#isReplacing) {
      throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', `worker ${this.index} is being replaced already`);
    }
    this.#isReplacing = true;
    try {
      const former = this.#current;
      if (!former || former.hasEnded)
        throw new HandoverError('ERR_HANDOVER_NOT_READY', `worker ${this.index} is not running`);
      const outcome = await (former.isAware ? this.#handOver(former, release) : this.#overlap(former, release));
      this.release = release;
      return outcome;
    } finally {
      this.#isReplacing = false;
      // It crashed meanwhile, and its successor is not in charge.
      if (this.#current?.hasEnded && !this.#isStopping) void this.#restart(Date.now() - this.#current.startedAt);
    }
  }

  /** Ends every worker; what is open drains first. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.workers.map((worker) => worker.stop(this.#host.stopTimeout)));
  }

  /** Ends the worker after it has given its connections to others; those that cannot move drain. */
  async leaveTo(others: readonly Worker[]): Promise<void> {
    this.#isStopping = true;
    const worker = this.#current;
    const heirs = others.filter(({ isAware, hasEnded }) => isAware && !hasEnded);
    if (!worker?.isAware || heirs.length === 0) return this.stop();
    const pairs = heirs.map((heir) => ({ heir, pair: socketpair() }));
    const received = pairs.map(({ heir, pair }) => heir.link.call('receive', {}, Int32Array.of(pair[1])));
    await worker.link.call(
      'leaveTo',
      {},
      Int32Array.from(pairs, ({ pair }) => pair[0]),
    );
    await Promise.allSettled([...received, worker.endsWithin(this.#host.stopTimeout)]);
    await this.stop();
  }

  /** Predecessor and successor are joined by a socketpair, and do the rest among themselves. */
  async #handOver(former: Worker, release: Release): Promise<Params> {
    const [left, right] = socketpair();
    const successor = await this.#startJoined(release, right, left);
    const pidfd = openPidfd(successor.pid);
    const fds = Int32Array.from(pidfd === undefined ? [left] : [left, pidfd]);
    try {
      const { params } = await former.link.call('giveWay', { pid: successor.pid }, fds);
      await Promise.race([successor.inCharge.promise, successor.exited]);
      this.#current = successor;
      return params;
    } catch (error) {
      // The former one died in the middle of it: the successor may be in charge by that.
      if (former.hasEnded && (await settlesWithin(successor.inCharge.promise, this.#host.settle))) {
        this.#current = successor;
        return { pid: successor.pid, generation: successor.generation };
      }
      await successor.stop(this.#host.stopTimeout);
      throw error;
    }
  }

  async #startJoined(release: Release, channel: number, other: number): Promise<Worker> {
    try {
      return await this.#spawn(release, channel);
    } catch (error) {
      closeFd(other);
      throw error;
    } finally {
      closeFd(channel);
    }
  }

  /** One that knows nothing of handovers: both accept for a while, then the former is told to end. */
  async #overlap(former: Worker, release: Release): Promise<Params> {
    const successor = await this.#spawn(release);
    try {
      await this.#serves(successor);
    } catch (error) {
      await successor.stop(this.#host.stopTimeout);
      throw error;
    }
    this.#current = successor;
    former.state = 'superseded';
    void former.stop(this.#host.stopTimeout);
    return { pid: successor.pid, generation: successor.generation };
  }

  async #spawn(release: Release, channel?: number): Promise<Worker> {
    const start = this.#host.workerStart(this, release);
    const worker = await Worker.start({ ...start, ...(channel !== undefined && { channel }) });
    this.#workers.add(worker);
    void worker.inCharge.promise.then(() => {
      this.#current = worker;
    });
    void worker.exited.then((exit) => this.#onExit(worker, exit));
    return worker;
  }

  /** In charge; or, for one that says nothing, alive for a while. */
  async #serves(worker: Worker): Promise<void> {
    const exited = worker.exited.then((exit) => {
      const message = `worker ${this.index} (pid ${worker.pid}) ended with ${describeExit(exit)} before it served`;
      throw new HandoverError('ERR_HANDOVER_SUCCESSOR_EXITED', message, { phase: 'PREPARE' });
    });
    exited.catch(() => {});
    await settlesWithin(Promise.race([worker.inCharge.promise, exited]), this.#host.foreignAfter);
    if (worker.isAware) await Promise.race([worker.inCharge.promise, exited]);
  }

  #onExit(worker: Worker, exit: Exit): void {
    this.#workers.delete(worker);
    if (this.#isStopping || this.#isReplacing || worker !== this.#current) return;
    // One that was replaced and took back, or a successor that is in charge by its predecessor's death.
    const heir = this.workers.find(({ state }) => state === 'in-charge' || state === 'superseded');
    this.#host.report(`worker ${this.index} (pid ${worker.pid}) ended with ${describeExit(exit)}`);
    if (heir) this.#current = heir;
    else void this.#restart(Date.now() - worker.startedAt);
  }

  /** Meanwhile the listeners are open, and who connects waits. */
  async #restart(lifetime: number): Promise<void> {
    this.#crashes = lifetime > HEALTHY_AFTER ? 0 : this.#crashes + 1;
    const delay = this.#crashes === 0 ? 0 : Math.min(FIRST_DELAY * 2 ** (this.#crashes - 1), LONGEST_DELAY);
    this.#host.report(`worker ${this.index} is started again in ${delay} ms`);
    await sleep(delay);
    if (this.#isStopping) return;
    try {
      await this.start();
    } catch (error) {
      this.#host.report((error as Error).message);
      // There was no worker whose end would start the next one.
      if (hasCode(error, 'ERR_HANDOVER_SPAWN_FAILED')) void this.#restart(0);
    }
  }
}

export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `exit code ${code}` : signal;
}
