// A process that can hand over: claims what it inherited, serves, and gives all of it to its successor or closes it.
import type { Channel } from '../channel/channel.js';
import { type Hello, type Manifest, PROTOCOL } from '../channel/wire.js';
import { HandoverError, typeError } from '../errors.js';
import { publish } from '../events.js';
import { dup3, dupFd } from '../fd/index.js';
import { type Entry, Ledger, RESERVED } from '../ledger/ledger.js';
import { CloseHooks } from './close-hooks.js';
import { type StartDirectory, successorCommand } from './command.js';
import { Deferred } from './deferred.js';
import type { Env } from './env.js';
import { addressOf, manage, resolvePlace } from './listening.js';
import type { DescriptorList } from './manifest.js';
import { checkCloseHook, checkListenOptions, type HandoverOptions } from './options.js';
import { refuseOrphan } from './orphan.js';
import { Predecessor, type PredecessorHost, type UpgradeOutcome } from './predecessor.js';
import { Servers } from './servers.js';
import { inheritedChannel, type Started, startSuccessor } from './start-self.js';
import { Successor, type SuccessorHost } from './successor.js';
import type { CloseHookOptions, Handover, Listener, Listening, ListenOptions } from './types.js';
import { VERSION } from './version.js';

const STDERR = `${RESERVED}stderr`;

/** `upgrading` ends in `draining`, or back in `serving`; `draining` goes back there too when the successor dies. */
type State = 'loading' | 'ready' | 'serving' | 'upgrading' | 'draining' | 'closing' | 'closed';

export class LiveHandover implements Handover, PredecessorHost, SuccessorHost {
  readonly #env: Env;
  readonly #options: Required<HandoverOptions>;
  readonly #start: StartDirectory;
  readonly #ledger = new Ledger();
  readonly #servers = new Servers();
  readonly #hooks = new CloseHooks();
  readonly #closed = new Deferred<void>();
  #closing = new AbortController();
  #state: State = 'loading';
  #successor: Successor | undefined;
  #predecessor: Predecessor | undefined;
  #upgrade: Promise<unknown> = Promise.resolve();
  #ready: Promise<void> | undefined;

  private constructor(env: Env, options: Required<HandoverOptions>, start: StartDirectory) {
    this.#env = env;
    this.#options = options;
    this.#start = start;
  }

  /** Greets the predecessor where there is one. */
  static async open(env: Env, options: Required<HandoverOptions>, start: StartDirectory): Promise<LiveHandover> {
    const handover = new LiveHandover(env, options, start);
    const channel: Channel | undefined = inheritedChannel(env);
    if (channel) handover.#successor = await Successor.join(channel, handover.hello, handover);
    return handover;
  }

  get generation(): number {
    return this.#successor?.generation ?? 1;
  }

  get isInCharge(): boolean {
    return this.#state === 'serving' || this.#state === 'upgrading';
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get hello(): Hello {
    const { generation } = this;
    return { protocol: PROTOCOL, generation, pid: this.#env.pid, version: VERSION, capabilities: [] };
  }

  async listen(listener: Listener, options: ListenOptions): Promise<Listening> {
    checkListenOptions(options);
    this.#expectOpen('listen()');
    const place = await resolvePlace(listener, options);
    const name = options.name ?? place.canonical;
    const entry = this.#ledger.listener(name, place);
    const managed = manage(listener, options.backlog, () => this.#release(name));
    publish('listen', { name, address: entry.address, origin: entry.origin });
    await this.#servers.add(name, managed, () => ({ fd: dupFd(entry.fd) }));
    return { name, address: addressOf(entry.fd), origin: entry.origin };
  }

  ready(): Promise<void> {
    this.#ready ??= this.#becomeReady();
    return this.#ready;
  }

  async upgrade(options: { readonly signal?: AbortSignal } = {}): Promise<UpgradeOutcome> {
    const { signal } = options;
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw typeError('options.signal', 'an AbortSignal', signal);
    signal?.throwIfAborted();
    this.#expectUpgradable();
    if (!this.#options.allowOrphan) refuseOrphan(this.#env);
    const command = successorCommand(this.#env, this.#start);
    this.#state = 'upgrading';
    const upgrade = startSuccessor(this.#env, command).then((started) => this.#handOver(started, signal));
    this.#upgrade = upgrade.catch((error) => this.#recordFailure(error));
    return upgrade;
  }

  onClose(name: string, hook: () => unknown, options: CloseHookOptions = {}): void {
    const timeout = checkCloseHook(name, hook, options);
    this.#hooks.add({ name, run: hook, timeout });
  }

  async close(): Promise<void> {
    if (this.#state !== 'draining' && this.#state !== 'closing' && this.#state !== 'closed') await this.#shutDown();
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // What the predecessor side asks of this process.

  list(): DescriptorList {
    const { entries, fds } = this.#ledger.manifest();
    const stderr = { name: STDERR, kind: 'descriptor', address: '' } as const;
    return { entries: [...entries, stderr], fds: Int32Array.of(...fds, this.#env.stderrFd) };
  }

  stopAccepting(): void {
    this.#servers.suspendAll();
  }

  async resumeAccepting(): Promise<void> {
    await this.#servers.resumeAll();
  }

  // What the successor side asks of this process.

  inherit({ entries }: Manifest, fds: Int32Array): void {
    this.#ledger.inherit(entries, fds);
  }

  /** stderr is a pipe into the predecessor, which ends: from here on it is what the predecessor writes to (FACTS P1). */
  adoptStderr(): void {
    const entry: Entry | undefined = this.#ledger.claim(STDERR);
    if (!entry) return;
    dup3(entry.fd, this.#env.stderrFd, false);
    this.#ledger.release(STDERR);
  }

  takeCharge(): void {
    this.#state = 'serving';
    publish('in-charge', { generation: this.generation, ...this.#ledger.report() });
  }

  giveUp(error: HandoverError): void {
    void this.#shutDown(error);
  }

  async #becomeReady(): Promise<void> {
    this.#expectOpen('ready()');
    await this.#servers.acceptAll();
    this.#expectOpen('ready()');
    this.adoptStderr();
    const claims = this.#ledger.report();
    this.#ledger.closeUnclaimed();
    this.#state = 'ready';
    if (this.#successor) await this.#successor.announceReady(claims);
    else this.takeCharge();
  }

  async #handOver(started: Started, signal: AbortSignal | undefined): Promise<UpgradeOutcome> {
    const predecessor = new Predecessor(started.channel, this, started.process);
    const onAbort = (): void => predecessor.abort(signal?.reason);
    this.#predecessor = predecessor;
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      // Both may have happened while the process was being started.
      if (signal?.aborted) onAbort();
      if (this.#state === 'closing') predecessor.abort(shuttingDown());
      await predecessor.prepare(this.#options.readyTimeout);
      const outcome = await predecessor.commit();
      void this.#retire(predecessor, started);
      return outcome;
    } catch (error) {
      throw await predecessor.giveUp(error);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The successor is in charge: serve what is open to its end, then leave. Its death meanwhile brings everything back. */
  async #retire(predecessor: Predecessor, { process, release }: Started): Promise<void> {
    this.#state = 'draining';
    this.#closing.abort();
    publish('superseded', { generation: this.generation, successorPid: process.pid });
    const recalled = new AbortController();
    try {
      await Promise.race([this.#drain(recalled.signal), predecessor.failed]);
      await predecessor.retire();
      release();
      await this.#end({ removePaths: false });
    } catch (error) {
      recalled.abort();
      this.#closing = new AbortController();
      this.#state = 'serving';
      this.#recordFailure(await predecessor.giveUp(error));
    }
  }

  /** Ends this process' part without a successor. */
  async #shutDown(reason?: HandoverError): Promise<void> {
    const wasInCharge = this.isInCharge || this.#successor === undefined;
    this.#state = 'closing';
    this.#closing.abort(reason);
    this.#predecessor?.abort(shuttingDown());
    await this.#upgrade;
    this.#successor?.leave('the successor is shutting down');
    this.#servers.suspendAll();
    this.#ledger.close({ removePaths: wasInCharge });
    await this.#drain();
    await this.#end({ removePaths: false });
  }

  async #drain(recalled?: AbortSignal): Promise<void> {
    const start = this.#env.now();
    const cut = await this.#servers.drainAll(this.#options.drainTimeout, recalled);
    if (recalled?.aborted) return;
    publish('drained', { generation: this.generation, cut, durationMs: this.#env.now() - start });
  }

  async #end({ removePaths }: { readonly removePaths: boolean }): Promise<void> {
    this.#ledger.close({ removePaths });
    this.#servers.finishAll();
    await this.#hooks.run();
    this.#state = 'closed';
    this.#closed.resolve();
  }

  #recordFailure(error: unknown): void {
    if (this.#state === 'upgrading') this.#state = 'serving';
    const failure = error instanceof Error ? error : new Error(String(error));
    const { code = 'ABORT_ERR', phase } = failure as Partial<HandoverError>;
    publish('failed', { generation: this.generation, code, phase, stillServing: true, error: failure });
  }

  #release(name: string): void {
    this.#servers.remove(name);
    this.#ledger.release(name);
  }

  #expectOpen(what: string): void {
    if (this.#state !== 'draining' && this.#state !== 'closing' && this.#state !== 'closed') return;
    throw new HandoverError('ERR_HANDOVER_CLOSED', `${what} came too late: this process is ${this.#state}`, {
      stillServing: false,
    });
  }

  #expectUpgradable(): void {
    this.#expectOpen('upgrade()');
    if (this.#state === 'upgrading') {
      throw new HandoverError('ERR_HANDOVER_IN_PROGRESS', 'another upgrade() of this process is under way');
    }
    if (this.#state !== 'serving') {
      throw new HandoverError(
        'ERR_HANDOVER_NOT_READY',
        'upgrade() needs this process to be in charge: await ready() first',
      );
    }
  }
}

function shuttingDown(): HandoverError {
  return new HandoverError('ERR_HANDOVER_CLOSED', 'this process is shutting down', { stillServing: false });
}
