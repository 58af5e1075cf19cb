// One handover, from the side of the process that gives. The steps are prepare, commit, retire; what can go wrong at any
// time (a frame out of turn, a death, a deadline) ends the step that waits, and `giveUp` takes everything back.
import type { Channel } from '../channel/channel.js';
import { type Frame, type Hello, negotiate } from '../channel/wire.js';
import { HandoverError, type HandoverErrorCode } from '../errors.js';
import { type Phase, publish } from '../events.js';
import { closeFds } from '../fd/index.js';
import { settlesWithin } from './deadline.js';
import { Deferred } from './deferred.js';
import type { Exit } from './env.js';
import { Machine, PREDECESSOR, PREDECESSOR_PHASE, type PredecessorEvent, type PredecessorState } from './machine.js';
import { type DescriptorList, sendList, without } from './manifest.js';
import { PhaseLog, type PhaseRecord } from './phase-log.js';

/** What the handover does in and for the process it runs in. */
export interface PredecessorHost {
  readonly hello: Hello;
  /** Everything that is handed over now; the descriptors are borrowed. */
  list(): DescriptorList;
  stopAccepting(): void;
  resumeAccepting(): Promise<void>;
}

/** The process at the other end, as far as this one can reach it. */
export interface SuccessorProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** The last lines it wrote to stderr before it was ready. */
  stderrTail(): Promise<string>;
  /** Ends it, in the end by SIGKILL; resolves when it is gone. */
  stop(): Promise<Exit>;
}

/** What `upgrade()` resolves with. */
export interface UpgradeOutcome {
  /** The generation in charge now, and its process. */
  readonly generation: number;
  readonly pid: number;
  /** The phases so far; the old process still drains. */
  readonly phases: readonly PhaseRecord[];
  /** Names the successor took over, and those it did not want. */
  readonly claimed: readonly string[];
  readonly unclaimed: readonly string[];
}

/** COMMIT asks nothing of the app: a successor that does not answer it hangs. */
const COMMIT_TIMEOUT = 10_000;

/** A process whose channel has ended is usually ending: how long it may take before it is stopped. */
const EXIT_GRACE = 1_000;

export class Predecessor {
  readonly #channel: Channel;
  readonly #host: PredecessorHost;
  readonly #process: SuccessorProcess;
  readonly #machine: Machine<PredecessorState, PredecessorEvent>;
  readonly #log = new PhaseLog();
  readonly #reached = new Map<PredecessorState, Deferred<void>>();
  readonly #failed = new Deferred<never>();
  readonly #offered = new Set<string>();
  #claims: { readonly claimed: readonly string[]; readonly unclaimed: readonly string[] } = {
    claimed: [],
    unclaimed: [],
  };
  #hasStopped = false;

  constructor(channel: Channel, host: PredecessorHost, process: SuccessorProcess) {
    this.#channel = channel;
    this.#host = host;
    this.#process = process;
    this.#machine = new Machine(PREDECESSOR, 'starting', (state) => this.#onEnter(state));
    this.#onEnter('starting');
    void this.#read();
  }

  /** The phase going on, or the one it failed in. */
  get phase(): Phase | undefined {
    return this.#log.current;
  }

  /** Rejects when the handover fails, at any time until it is retired. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** From nothing to a successor that could serve. */
  async prepare(readyTimeout: number): Promise<void> {
    await this.#within(readyTimeout, 'the successor was not ready', async () => {
      await this.#channel.send('HELLO', this.#host.hello);
      await this.#until('offered');
      const list = this.#host.list();
      for (const { name } of list.entries) this.#offered.add(name);
      await sendList(this.#channel, 'MANIFEST', list);
      await this.#until('ready');
    });
  }

  /** Puts the successor in charge: this process accepts no more. */
  async commit(): Promise<UpgradeOutcome> {
    this.#machine.own('commit');
    await this.#within(COMMIT_TIMEOUT, 'the successor did not answer COMMIT', async () => {
      this.#hasStopped = true;
      this.#host.stopAccepting();
      await sendList(this.#channel, 'COMMIT', without(this.#host.list(), this.#offered));
      await this.#until('migrating');
    });
    this.#machine.own('migrated');
    const { generation } = this.#host.hello;
    return { generation: generation + 1, pid: this.#process.pid, phases: this.#log.records, ...this.#claims };
  }

  /** The last word: from here on the successor is alone. */
  async retire(): Promise<void> {
    if (this.#machine.state === 'ended') await this.#failed.promise;
    this.#machine.own('drained');
    await this.#channel.send('RETIRE', {});
    this.#channel.close();
  }

  /** Ends the handover from this side; the step that waits rejects with the reason. Without effect once it is over. */
  abort(reason: unknown): void {
    if (this.#machine.own('abort') === 'ended') this.#failed.reject(reason);
  }

  /**
   * Takes everything back after a failure: the listeners at once (whatever the successor does with its own copies, the
   * kernel gives each connection to one of us), then ends the successor.
   * @returns the error for whoever asked for the handover: an AbortSignal's reason untouched, else a HandoverError
   */
  async giveUp(reason: unknown): Promise<unknown> {
    this.abort(reason);
    const { code, message } = reason instanceof HandoverError ? reason : { code: undefined, message: String(reason) };
    this.#channel.send('ABORT', { code, reason: message }).catch(() => {});
    if (this.#hasStopped) await this.#host.resumeAccepting();
    if (!hasEnded(reason) || !(await settlesWithin(this.#process.exited, EXIT_GRACE))) await this.#process.stop();
    this.#channel.close();
    return reason instanceof HandoverError ? await this.#explain(reason) : reason;
  }

  async #explain(error: HandoverError): Promise<HandoverError> {
    const { code: exitCode, signal: exitSignal } = await this.#process.exited;
    const stderr = await this.#process.stderrTail();
    const how = hasEnded(error) ? ` (${exitSignal ? `killed by ${exitSignal}` : `exit code ${exitCode}`})` : '';
    const said = stderr ? `\n${stderr.replace(/^/gm, '  | ')}` : '';
    const details = { phase: this.phase, stillServing: true, cause: error.cause, exitCode, exitSignal, stderr };
    return new HandoverError(error.code, `${error.message}${how}${said}`, details);
  }

  async #read(): Promise<void> {
    try {
      for await (const frame of this.#channel) this.#onFrame(frame);
      if (this.#machine.peer('EOF') === 'ended') this.#fail('ERR_HANDOVER_SUCCESSOR_EXITED', 'the successor ended');
    } catch (error) {
      this.abort(error);
    }
  }

  #onFrame(frame: Frame): void {
    if (frame.fds.length > 0) {
      closeFds(frame.fds);
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', `the successor sent descriptors with ${frame.name}`);
    }
    if (frame.name === 'HELLO') negotiate(this.#host.hello, frame.payload);
    if (frame.name === 'CLAIMED') this.#claims = frame.payload;
    this.#machine.peer(frame.name as PredecessorEvent);
    if (frame.name === 'ABORT') {
      this.#fail('ERR_HANDOVER_ABORTED', `the successor gave up: ${frame.payload.reason ?? 'it did not say why'}`);
    }
  }

  #fail(code: HandoverErrorCode, message: string): void {
    this.#failed.reject(new HandoverError(code, message, { phase: this.phase }));
  }

  #onEnter(state: PredecessorState): void {
    const phase = PREDECESSOR_PHASE[state];
    const { generation } = this.#host.hello;
    if (phase && this.#log.enter(phase)) publish('phase', { phase, role: 'predecessor', generation });
    this.#deferredFor(state).resolve();
  }

  #until(state: PredecessorState): Promise<void> {
    return Promise.race([this.#deferredFor(state).promise, this.#failed.promise]);
  }

  #deferredFor(state: PredecessorState): Deferred<void> {
    const deferred = this.#reached.get(state) ?? new Deferred<void>();
    this.#reached.set(state, deferred);
    return deferred;
  }

  async #within(timeout: number, what: string, step: () => Promise<void>): Promise<void> {
    const timer = setTimeout(() => {
      const message = `${what} within ${timeout} ms`;
      this.abort(new HandoverError('ERR_HANDOVER_TIMEOUT', message, { phase: this.phase }));
    }, timeout);
    try {
      await Promise.race([step(), this.#failed.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A failure that is the successor's own end: its exit says more than any signal of ours. */
function hasEnded(error: unknown): boolean {
  return error instanceof HandoverError && error.code === 'ERR_HANDOVER_SUCCESSOR_EXITED';
}
