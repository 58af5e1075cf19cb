// A process that can hand over: claims what it inherited, serves, and gives all of it to its successor or closes it.

import { HandoverError } from '../errors.js';
import { publish } from '../events.js';
import { helloOf } from '../handover/identity.js';
import { IncomingHandover, type SuccessorHost } from '../handover/incoming.js';
import { anotherInCharge, type UpgradeOutcome } from '../handover/outcome.js';
import type { OutgoingHandover } from '../handover/outgoing.js';
import type { Env } from '../platform/env.js';
import type { ServiceManager } from '../platform/service-manager.js';
import type { Start } from '../platform/start.js';
import type { SuccessorProcess } from '../platform/successor-process.js';
import type { Channel } from '../protocol/channel.js';
import { Deferred } from '../protocol/deferred.js';
import type { DrainingGeneration, Hello, ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList, Wanted } from '../protocol/manifest.js';
import { DescriptorReserve } from '../resources/reserve.js';
import { giveTo } from '../transfer/rebalance.js';
import { ActiveRole } from './active-role.js';
import { AppSide } from './app-side.js';
import { Lifecycle } from './lifecycle.js';
import { Operations } from './operations.js';
import { type CheckedOptions, checkUpgradeOptions } from './options.js';
import { Resources } from './resources.js';
import { drain, type Retiring, retireOrRecall } from './retirement.js';
import { ServiceIntegration } from './service-integration.js';
import type { Standby } from './standby.js';
import { keptBySupervisor, type Supervised } from './supervisor-link.js';
import type { Handover, UpgradeOptions } from './types.js';
import { Upgrader, type UpgradesHost } from './upgrader.js';

/** `draining` goes back to `serving` when the successor dies. */
type State = 'loading' | 'ready' | 'serving' | 'draining' | 'closing' | 'closed';

export class LiveHandover extends AppSide implements Handover, UpgradesHost, SuccessorHost, Supervised {
  readonly #env: Env;
  readonly #options: CheckedOptions;
  readonly manager: ServiceManager;
  readonly #reserve = new DescriptorReserve();
  readonly #upgrades: Upgrader;
  readonly #role: ActiveRole;
  readonly #services: ServiceIntegration;
  readonly #closed = new Deferred<void>();
  #closing = new AbortController();
  #state: State = 'loading';
  #isSteppingDown = false;
  #isToClose = false;
  #successor: IncomingHandover | undefined;
  #ready: Promise<void> | undefined;
  #takingCharge: Promise<void> | undefined;
  readonly #chargeTaken = new Deferred<void>();

  readonly #onDial = (...dialled: [Channel, SuccessorProcess]): void => void this.#upgrades.takeOver(...dialled);
  private constructor(env: Env, options: CheckedOptions, start: Start) {
    super(new Resources(env), new Lifecycle(), options.drainTimeout);
    this.#env = env;
    this.#options = options;
    this.#services = new ServiceIntegration(env, options, start, this);
    this.manager = this.#services.manager;
    this.#upgrades = new Upgrader(env, options, start, this.#reserve, this);
    const own = this.#services.chargesOf(options);
    const operations = new Operations(this, env, own, start);
    this.#services.onLeaving(operations.leaveSoon);
    const ways = { onDial: this.#onDial, operations };
    this.#role = new ActiveRole(own, env.pid, this.resources, this.lifecycle, this.#reserve, ways);
  }

  /** Greets the predecessor where there is one. At once, where nobody and nothing has to be waited for. */
  static open(env: Env, options: CheckedOptions, start: Start): LiveHandover | Promise<LiveHandover> {
    const handover = new LiveHandover(env, options, start);
    const dial = (): Promise<Channel | undefined> | undefined => handover.#role.dial(options.readyTimeout);
    const greeted = handover.#services.greet();
    const channel = greeted instanceof Promise ? greeted.then((found) => found ?? dial()) : (greeted ?? dial());
    return channel !== undefined ? handover.#join(channel).then(() => handover.#prepare()) : handover.#prepare();
  }

  get generation(): number {
    return this.#successor?.generation ?? 1;
  }

  get isInCharge(): boolean {
    return this.#state === 'serving';
  }

  get phase(): string {
    return this.#upgrades.phase ?? this.#state;
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get draining(): readonly DrainingGeneration[] {
    return this.#successor?.draining ?? [];
  }

  get hello(): Hello {
    return helloOf({ pid: this.#env.pid, generation: this.generation, moves: this.#options.connections === 'move' });
  }

  ready(): Promise<void> {
    this.#ready ??= this.#becomeReady();
    return this.#ready;
  }

  async upgrade(options: UpgradeOptions = {}): Promise<UpgradeOutcome> {
    const checked = checkUpgradeOptions(options);
    return this.#services.supervisor ? this.#services.supervisor.replace(checked) : this.#upgrades.upgrade(checked);
  }

  async prepare(options: UpgradeOptions = {}): Promise<Standby> {
    if (this.#services.supervisor) throw keptBySupervisor();
    return this.#upgrades.prepare(checkUpgradeOptions(options));
  }

  abortUpgrade(reason: HandoverError): Promise<string | undefined> {
    return this.#upgrades.abort(reason);
  }

  async close(): Promise<void> {
    this.#isToClose = true;
    if (this.#state === 'loading' || this.#state === 'ready' || this.#state === 'serving') await this.#shutDown();
    await this.closed;
  }

  // What a handover to a successor asks of this process.

  expectInCharge(): void {
    this.expectOpen('a handover');
    if (this.isInCharge) return;
    throw new HandoverError('ERR_HANDOVER_NOT_READY', 'this process is not in charge: await ready() first');
  }

  list(wanted: Wanted): DescriptorList {
    return this.#reserve.lend(() => this.resources.early(this.hello, wanted));
  }

  async stepDown(claimed: readonly string[], offered: ReadonlySet<ManifestEntry>): Promise<DescriptorList> {
    this.#isSteppingDown = true;
    this.#successor?.relay.begin();
    await this.#role.yield();
    this.#expectSteppingDown();
    this.resources.suspend(claimed, offered);
    // For what the app keeps, now that nobody connects any more.
    this.#reserve.release();
    const list = await this.resources.all();
    this.#expectSteppingDown();
    this.resources.arbiter.yield();
    return list;
  }

  /** It may have been taken back while the app's duties were ending, or its state was collected. */
  #expectSteppingDown(): void {
    if (this.#isSteppingDown) return;
    this.resources.kept.release();
    throw new HandoverError('ERR_HANDOVER_ABORTED', 'the handover was given up meanwhile');
  }

  async mayTakeBack(successor: Hello | undefined): Promise<boolean> {
    const { arbiter } = this.resources;
    // It is to end as soon as it is in charge: others that are left are better off with it now.
    if (this.#isToClose && arbiter.hasOthers()) arbiter.resign();
    return arbiter.claim('recall', [this.hello, successor], { isImpatient: false });
  }

  async takeBack(): Promise<void> {
    this.#isSteppingDown = false;
    if (!this.#isToClose) this.resources.arbiter.sign(this.hello);
    await this.#reserve.lend(() => this.resources.takeBack({ reopen: this.lifecycle.isAppEnding }));
    this.#role.takeAnyhow('takeBack');
  }

  reassert(): void {
    if (this.isInCharge) this.#role.reassert();
  }
  letGo(): void {
    this.resources.servers.stayAll();
    this.resources.close({ removePaths: false });
  }

  /** In the background: `closed` tells when it is over. */
  retire(predecessor: OutgoingHandover, process: SuccessorProcess): void {
    this.#state = 'draining';
    this.#closing.abort();
    void this.#drainAndRetire(predecessor, process, this.#services.superseded(this.generation, process));
  }

  // What a supervisor asks of this process.

  replace(channel: Channel, process: SuccessorProcess): Promise<UpgradeOutcome> {
    return this.#upgrades.replace(channel, process);
  }

  async transferTo(channels: readonly Channel[]): Promise<void> {
    this.expectOpen('leaving');
    void this.#shutDown(undefined, channels);
  }

  // What a handover from a predecessor asks of this process.

  mayTakeCharge(): boolean {
    return this.resources.arbiter.take();
  }

  mayInherit(predecessor: Hello | undefined): Promise<boolean> {
    return this.resources.arbiter.claim('bereft', [predecessor], { isImpatient: true });
  }

  takeCharge(): Promise<void> {
    this.#takingCharge ??= this.#becomeInCharge();
    return this.#takingCharge;
  }

  becomeAlone(predecessor?: Hello): void {
    this.#role.answerProbes();
    if (!this.isInCharge) return;
    this.resources.ledger.closeUnclaimed();
    this.#services.alone(this.generation, predecessor);
  }

  giveUp(error: HandoverError): void {
    void this.#shutDown(error);
  }

  get room(): number | undefined {
    return this.#reserve.room;
  }

  get health(): CheckedOptions['health'] {
    return this.#options.health;
  }

  #prepare(): this | Promise<this> {
    this.#reserve.hold();
    return this.#role.prepare(() => this.close())?.then(() => this) ?? this;
  }

  async #join(joining: Channel | Promise<Channel | undefined>): Promise<void> {
    const channel = await joining;
    if (!channel) return;
    try {
      this.#successor = await IncomingHandover.join(channel, this.hello, this);
    } catch (error) {
      this.#role.unlock();
      throw error;
    }
  }

  async #becomeReady(): Promise<void> {
    this.expectOpen('ready()');
    await this.getReady(this.#options.warmup);
    const claims = this.resources.claims(this.#options.unclaimed);
    await this.#successor?.expectClaimed(claims, this.resources.ledger);
    const accept = async (): Promise<void> => {
      if (!this.resources.isStandby) await this.resources.servers.acceptAll();
    };
    await (this.#successor ? this.#successor.acceptWithRoom(accept) : accept());
    this.expectOpen('ready()');
    this.resources.adoptStderr();
    this.resources.ledger.closeUnclaimedListeners();
    this.#state = 'ready';
    if (!this.#successor) return this.takeCharge();
    await this.#successor.announceReady(claims);
    if (this.resources.isStandby) await this.#chargeTaken.promise;
  }

  async #becomeInCharge(): Promise<void> {
    await this.#abideByArbiter();
    await this.resources.servers.acceptAll();
    try {
      if (this.#successor?.isAlone) this.#role.takeAnyhow('takeCharge');
      else this.#role.take();
    } catch (error) {
      this.resources.servers.suspendAll();
      throw error;
    }
    this.#state = 'serving';
    this.resources.arbiter.sign(this.hello);
    this.#chargeTaken.resolve();
    this.#services.inCharge(this.generation);
    if (this.#successor?.isAlone) this.becomeAlone();
    const { claimed } = this.resources.ledger.report();
    const { handoverId } = this.#successor ?? {};
    publish('in-charge', { handoverId, generation: this.generation, claimed, unclaimed: this.resources.unclaimed });
  }

  /** A process that no predecessor gave an arbiter has the one of its place under a supervisor, or founds one. */
  async #abideByArbiter(): Promise<void> {
    const { arbiter } = this.resources;
    if (arbiter.isThere) return;
    const shared = await this.#services.supervisor?.arbiter();
    if (shared === undefined) {
      arbiter.found();
      return;
    }
    arbiter.adopt(shared, 0);
    if (await arbiter.claim('bereft', undefined, { isImpatient: true })) return;
    // Told to end while it waited: that is no failure.
    this.expectOpen('ready()');
    throw anotherInCharge();
  }

  async #drainAndRetire(predecessor: OutgoingHandover, process: SuccessorProcess, told: Promise<void>): Promise<void> {
    const failure = await retireOrRecall(this.#retiring, {
      predecessor,
      moves: this.#options.connections === 'move',
      successor: this.#successor,
      report: () => predecessor.report(this.connectionCount, this.draining),
    });
    process.release();
    // systemd must not find its main process gone before it has read who follows.
    if (failure === undefined) {
      this.resources.arbiter.close();
      await told.then(() => this.#end());
    } else if (predecessor.isRelieved) {
      predecessor.record.failed(failure);
      await this.#shutDown(anotherInCharge());
    } else await this.#serveOn(failure as HandoverError, predecessor);
  }

  /** The successor failed after it was in charge: this process is again. */
  async #serveOn(error: HandoverError, { record }: OutgoingHandover): Promise<void> {
    this.#closing = new AbortController();
    this.#state = 'serving';
    this.#services.servesOn(this.generation, error);
    record.failed(error);
    publish('in-charge', { handoverId: record.id, generation: this.generation, ...this.resources.ledger.report() });
    // Asked for while it drained: there is nobody to drain for now.
    if (this.#isToClose) await this.#shutDown();
  }

  /** Ends this process' part without a successor; its connections go to the `heirs` where there are any. */
  async #shutDown(reason?: HandoverError, heirs: readonly Channel[] = []): Promise<void> {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    // With a reason the predecessor serves on, at the same paths, also where this process was in charge meanwhile.
    const isLast = reason === undefined && (this.isInCharge || this.#successor === undefined);
    this.#state = 'closing';
    this.#services.closing({ isLast });
    this.#closing.abort(reason);
    const closed = new HandoverError('ERR_HANDOVER_CLOSED', 'this process is shutting down', { stillServing: false });
    this.#chargeTaken.reject(reason ?? closed);
    await this.#upgrades.abort(closed);
    if (isLast) await (heirs.length > 0 ? this.#role.yield() : this.#role.end());
    else this.#role.abandon();
    await this.#successor?.leave();
    this.resources.suspend();
    this.resources.close({ removePaths: isLast && !this.#services.keepListeners });
    await drain(this.#retiring, heirs.length > 0 ? () => giveTo(heirs, this.hello, this.resources.servers) : undefined);
    await this.#end();
  }

  get #retiring(): Retiring {
    const { generation, lifecycle } = this;
    const { drainTimeout: timeout, drainIdleTimeout: idleTimeout, closeSpread } = this.#options;
    return { generation, servers: this.resources.servers, lifecycle, timeout, idleTimeout, closeSpread };
  }

  async #end(): Promise<void> {
    await this.#successor?.leave();
    this.resources.close({ removePaths: false });
    this.#reserve.release();
    this.resources.servers.finishAll();
    await this.lifecycle.runHooks();
    this.#role.leave();
    this.#services.end();
    this.#state = 'closed';
    this.#closed.resolve();
  }

  get handsOver(): boolean {
    return !this.#isSteppingDown && this.#isOpen;
  }

  get #isOpen(): boolean {
    return this.#state !== 'draining' && this.#state !== 'closing' && this.#state !== 'closed';
  }

  protected expectOpen(what: string): void {
    if (this.#isOpen) return;
    const message = `${what} came too late: this process is ${this.#state}`;
    throw new HandoverError('ERR_HANDOVER_CLOSED', message, { stillServing: false });
  }
}
