// Executes the lifecycle of this process (lifecycle.ts): passes it the events, and runs the effects by its collaborators.
// Each of them gets only the functions that it needs.

import { HandoverError } from '../errors.js';
import { publish } from '../events.js';
import type { HandoverRecord } from '../handover/handover-record.js';
import { helloOf } from '../handover/identity.js';
import { IncomingHandover } from '../handover/incoming.js';
import { anotherInCharge, type UpgradeOutcome } from '../handover/outcome.js';
import { OutgoingHandover } from '../handover/outgoing.js';
import type { Env } from '../platform/env.js';
import type { Start } from '../platform/start.js';
import type { Started } from '../platform/start-self.js';
import type { SuccessorProcess } from '../platform/successor-process.js';
import type { Channel } from '../protocol/channel.js';
import { Deferred } from '../protocol/deferred.js';
import type { DrainingGeneration, Hello, ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList } from '../protocol/manifest.js';
import { DescriptorReserve } from '../resources/reserve.js';
import { giveTo } from '../transfer/rebalance.js';
import { ActiveRole } from './active-role.js';
import type { AppDuties } from './app-duties.js';
import type { ProcessDescription } from './asked.js';
import { checkUpgradeOptions } from './call-options.js';
import { type Effect, Lifecycle, type LifeEvent } from './lifecycle.js';
import { Operations } from './operations.js';
import type { CheckedOptions } from './options.js';
import type { Resources } from './resources.js';
import { drain, type Retiring, retireOrRecall } from './retirement.js';
import { ServiceIntegration } from './service-integration.js';
import type { Standby } from './standby.js';
import { keptBySupervisor } from './supervisor-link.js';
import type { UpgradeOptions } from './types.js';
import { Upgrader } from './upgrader.js';

/** What an event passes to its effects. */
interface Occasion {
  /** From `stepDown`. */
  readonly claimed?: readonly string[];
  readonly offered?: ReadonlySet<ManifestEntry>;
  /** From `superseded`. */
  readonly outgoing?: OutgoingHandover;
  readonly process?: SuccessorProcess;
  /** From `takenBack`. */
  readonly failure?: HandoverError;
  readonly record?: HandoverRecord;
  /** From `alone`. */
  readonly predecessor?: Hello | undefined;
  /** From `transfer`, or from `withdraw` in its place: channels to the workers that get the connections. */
  readonly targets?: readonly Channel[];
  /** From `withdraw` and `relieved`. */
  readonly reason?: HandoverError;
  /** Set by the effect `collect`. */
  list?: DescriptorList;
}

export class Executor {
  readonly #env: Env;
  readonly #options: CheckedOptions;
  readonly #resources: Resources;
  readonly #duties: AppDuties;
  readonly #reserve = new DescriptorReserve();
  readonly #lifecycle = new Lifecycle();
  readonly #services: ServiceIntegration;
  readonly #upgrader: Upgrader;
  readonly #role: ActiveRole;
  readonly #closed = new Deferred<void>();
  readonly #chargeTaken = new Deferred<void>();
  #closing = new AbortController();
  #incoming: IncomingHandover | undefined;
  #ready: Promise<void> | undefined;
  #takingCharge: Promise<void> | undefined;
  #takingBack: Promise<unknown> | undefined;
  /** Resolves when systemd has read that the successor is in charge. */
  #told: Promise<void> | undefined;

  constructor(env: Env, options: CheckedOptions, start: Start, resources: Resources, duties: AppDuties) {
    this.#env = env;
    this.#options = options;
    this.#resources = resources;
    this.#duties = duties;
    this.#services = new ServiceIntegration(env, options, start, {
      resources,
      describe: () => ({ ...this.describe(), hello: this.#hello }),
      orders: {
        replace: (channel, process) => this.#upgrader.replace(channel, process),
        transferTo: (channels) => this.#transferTo(channels),
        close: () => this.close(),
      },
    });
    this.#upgrader = this.#newUpgrader(start);
    const own = this.#services.ownOptions(options);
    const orders = {
      upgrade: (asked?: UpgradeOptions) => this.upgrade(asked),
      prepare: (asked?: UpgradeOptions) => this.prepare(asked),
      abortUpgrade: (reason: HandoverError) => this.#upgrader.abort(reason),
      close: () => this.close(),
    };
    const operations = new Operations({ describe: () => this.describe(), orders, resources, env, options: own, start });
    this.#services.onLeaving(operations.leaveSoon);
    this.#role = new ActiveRole(own, env.pid, resources, duties, this.#reserve, {
      onDial: (channel, process) => void this.#upgrader.takeOver(channel, process),
      operations,
    });
  }

  get generation(): number {
    return this.#incoming?.generation ?? 1;
  }

  /** Older generations that still drain. */
  get draining(): readonly DrainingGeneration[] {
    return this.#incoming?.draining ?? [];
  }

  get isInCharge(): boolean {
    return this.#lifecycle.standing.isInCharge;
  }

  get handsOver(): boolean {
    return this.#lifecycle.standing.handsOver;
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  describe(): ProcessDescription {
    const { generation, draining } = this;
    const { isInCharge, phase } = this.#lifecycle.standing;
    const { connectionCount } = this.#resources.servers;
    return { generation, isInCharge, phase: this.#upgrader.phase ?? phase, connectionCount, draining };
  }

  /** @throws ERR_HANDOVER_CLOSED `what` came too late */
  expectOpen(what: string): void {
    const { isOpen, phase } = this.#lifecycle.standing;
    if (isOpen) return;
    const message = `${what} came too late: this process is ${phase}`;
    throw new HandoverError('ERR_HANDOVER_CLOSED', message, { stillServing: false });
  }

  /** Joins the predecessor, if there is one. Undefined where there is nothing to wait for: this process is open then. */
  open(): Promise<void> | undefined {
    const dial = (): Promise<Channel | undefined> | undefined => this.#role.dial(this.#options.readyTimeout);
    const greeted = this.#services.greet();
    const channel = greeted instanceof Promise ? greeted.then((found) => found ?? dial()) : (greeted ?? dial());
    return channel !== undefined ? this.#join(channel).then(() => this.#prepare()) : this.#prepare();
  }

  /** `load` resolves when the app is able to serve. */
  ready(load: () => Promise<void>): Promise<void> {
    this.#ready ??= this.#becomeReady(load);
    return this.#ready;
  }

  async upgrade(options: UpgradeOptions = {}): Promise<UpgradeOutcome> {
    const checked = checkUpgradeOptions(options);
    return this.#services.supervisor ? this.#services.supervisor.replace(checked) : this.#upgrader.upgrade(checked);
  }

  async prepare(options: UpgradeOptions = {}): Promise<Standby> {
    if (this.#services.supervisor) throw keptBySupervisor();
    return this.#upgrader.prepare(checkUpgradeOptions(options));
  }

  async close(): Promise<void> {
    await this.#endBy('close');
    await this.closed;
  }

  get #hello(): Hello {
    const { generation } = this;
    return helloOf({ pid: this.#env.pid, generation, moves: this.#options.migrate });
  }

  /**
   * Runs the effects of an event, and then its next event. False: another event has changed the state meanwhile, and the
   * effects that were left are skipped.
   */
  async #do(event: LifeEvent, occasion: Occasion = {}): Promise<boolean> {
    const { effects, next } = this.#lifecycle.step(event);
    const { changes } = this.#lifecycle;
    const isOvertaken = (): boolean => this.#lifecycle.changes !== changes;
    for (const effect of effects) {
      try {
        const done = this.#effects[effect](occasion);
        if (done instanceof Promise) await done;
      } catch (error) {
        if (!isOvertaken()) throw error;
      }
      if (isOvertaken()) return false;
    }
    return next === undefined || this.#do(next, occasion);
  }

  /** Each effect runs in the same turn as the one before, unless that one returned a promise, which is awaited first. */
  readonly #effects: Readonly<Record<Effect, (occasion: Occasion) => unknown>> = {
    abandonRole: () => this.#role.abandon(),
    abortClosing: ({ reason }) => this.#closing.abort(reason),
    abortHandover: () => this.#abortHandover(),
    accept: () => this.#resources.servers.acceptAll(),
    adoptStderr: () => this.#resources.adoptStderr(),
    answerProbes: () => this.#role.answerProbes(),
    awaitServiceManager: () => this.#told,
    becomeAloneIfBereft: () => {
      if (this.#incoming?.isAlone) void this.#do('alone');
    },
    closeArbiter: () => this.#resources.arbiter.close(),
    closeLeavingPaths: () => this.#resources.close({ removePaths: false }),
    closeRemovingPaths: () => this.#resources.close({ removePaths: !this.#services.keepListeners }),
    closeUnclaimed: () => this.#resources.ledger.closeUnclaimed(),
    closeUnclaimedListeners: () => this.#resources.ledger.closeUnclaimedListeners(),
    collect: async (occasion) => {
      occasion.list = await this.#resources.all();
    },
    drain: ({ targets = [] }) => {
      const give = () => giveTo(targets, this.#hello, this.#resources.servers, this.#env.clock);
      return drain(this.#retiring, targets.length > 0 ? give : undefined);
    },
    // Runs in the background, and ends with the event `retired`, `takenBack` or `relieved`.
    drainBesideSuccessor: ({ outgoing, process }) => {
      if (outgoing && process) void this.#drainBeside(outgoing, process);
    },
    endRole: () => this.#role.end(),
    endServices: () => this.#services.end(),
    finishServers: () => this.#resources.servers.finishAll(),
    forgetOutcomes: () => this.#incoming?.relay.begin(),
    leavePredecessor: () => this.#incoming?.leave(),
    leaveRole: () => this.#role.leave(),
    obtainArbiter: () => this.#obtainArbiter(),
    publishInCharge: () => this.#publishInCharge(),
    publishInChargeAgain: ({ record }) => {
      const { generation } = this;
      publish('in-charge', { handoverId: record?.id, generation, ...this.#resources.ledger.report() });
    },
    recordFailure: ({ record, failure }) => record?.failed(failure),
    refuseReady: ({ reason = closed() }) => this.#chargeTaken.reject(reason),
    releaseReserve: () => this.#reserve.release(),
    renewClosing: () => {
      this.#closing = new AbortController();
    },
    resolveClosed: () => this.#closed.resolve(),
    resolveReady: () => this.#chargeTaken.resolve(),
    resume: () => this.#reserve.lend(() => this.#resources.takeBack({ reopen: this.#duties.isAppEnding })),
    runHooks: () => this.#duties.runHooks(),
    sign: () => this.#resources.arbiter.sign(this.#hello),
    stayHere: () => this.#resources.servers.stayAll(),
    suspendAll: () => this.#resources.suspend(),
    suspendClaimed: ({ claimed, offered }) => this.#resources.suspend(claimed, offered),
    takeRole: () => (this.#incoming?.isAlone ? this.#role.takeAnyhow('takeCharge') : this.#role.take()),
    takeRoleAnyhow: () => this.#role.takeAnyhow('takeBack'),
    tellAlone: ({ predecessor }) => this.#services.alone(this.generation, predecessor),
    tellClosing: () => this.#services.closing({ isLast: true }),
    tellInCharge: () => this.#services.inCharge(this.generation),
    tellServesOn: ({ failure }) => failure && this.#services.servesOn(this.generation, failure),
    tellSuperseded: ({ process }) => {
      if (process) this.#told = this.#services.superseded(this.generation, process);
    },
    tellWithdrawing: () => this.#services.closing({ isLast: false }),
    yieldArbiter: () => this.#resources.arbiter.yield(),
    yieldRole: () => this.#role.yield(),
  };

  #newUpgrader(start: Start): Upgrader {
    const means = {
      env: this.#env,
      options: this.#options,
      start,
      reserve: this.#reserve,
      manager: this.#services.manager,
      resources: this.#resources,
      connect: (started: Started, record: HandoverRecord) => this.#connect(started, record),
    };
    const self = {
      describe: () => ({ ...this.describe(), hello: this.#hello }),
      expectInCharge: () => this.#expectInCharge(),
    };
    return new Upgrader(means, self, {
      superseded: (outgoing, process) => void this.#do('superseded', { outgoing, process }),
      relieved: () => void this.#do('relieved', { reason: anotherInCharge() }),
      reassert: () => {
        if (this.isInCharge) this.#role.reassert();
      },
    });
  }

  #connect({ channel, process }: Started, record: HandoverRecord): OutgoingHandover {
    return new OutgoingHandover(
      { channel, process, hello: this.#hello, record, clock: this.#env.clock },
      {
        list: (wanted) => this.#reserve.lend(() => this.#resources.early(this.#hello, wanted)),
        stepDown: (claimed, offered) => this.#stepDown(claimed, offered),
      },
      {
        mayTakeBack: (successor) => this.#mayTakeBack(successor),
        takeBack: async () => {
          this.#takingBack = this.#do('takeBack');
          await this.#takingBack;
        },
        letGo: () => void this.#do('letGo'),
      },
    );
  }

  #expectInCharge(): void {
    this.expectOpen('a handover');
    if (this.isInCharge) return;
    throw new HandoverError('ERR_HANDOVER_NOT_READY', 'this process is not in charge: await ready() first', {
      stillServing: true,
    });
  }

  async #stepDown(claimed: readonly string[], offered: ReadonlySet<ManifestEntry>): Promise<DescriptorList> {
    const occasion: Occasion = { claimed, offered };
    if ((await this.#do('stepDown', occasion)) && occasion.list) return occasion.list;
    // Another event came while the app's duties ended or its state was collected: `takeBack`, or the end of this process.
    this.#resources.kept.release();
    const message = 'the handover was aborted while this process collected what it hands over';
    throw new HandoverError('ERR_HANDOVER_ABORTED', message, { stillServing: true });
  }

  async #mayTakeBack(successor: Hello | undefined): Promise<boolean> {
    const { arbiter } = this.#resources;
    if (this.#lifecycle.standing.resigns && arbiter.hasOthers()) arbiter.resign();
    return arbiter.claim('recall', [this.#hello, successor], { isImpatient: false });
  }

  async #drainBeside(outgoing: OutgoingHandover, process: SuccessorProcess): Promise<void> {
    const failure = await retireOrRecall(this.#retiring, {
      outgoing,
      moves: this.#options.migrate,
      incoming: this.#incoming,
      report: () => outgoing.report(this.#resources.servers.connectionCount, this.draining),
    });
    process.release();
    if (failure === undefined) {
      await this.#do('retired');
    } else if (outgoing.isRelieved) {
      outgoing.record.failed(failure);
      await this.#do('relieved', { reason: anotherInCharge() });
    } else await this.#do('takenBack', { failure: failure as HandoverError, record: outgoing.record });
  }

  get #retiring(): Retiring {
    const { timeout, idleTimeout, spread } = this.#options.drain;
    const { servers } = this.#resources;
    return {
      generation: this.generation,
      servers,
      duties: this.#duties,
      clock: this.#env.clock,
      timeout,
      idleTimeout,
      spread,
    };
  }

  /** Aborts the handover to a successor. Resolves when this process has taken everything back that it is taking back. */
  async #abortHandover(): Promise<void> {
    await this.#upgrader.abort(closed());
    await this.#takingBack;
  }

  async #transferTo(targets: readonly Channel[]): Promise<void> {
    this.expectOpen('a transfer of connections');
    void this.#endBy(targets.length > 0 ? 'transfer' : 'close', targets);
  }

  /** Ends this process. Before it is in charge it withdraws instead, because a predecessor may still serve. */
  #endBy(event: 'close' | 'transfer', targets: readonly Channel[] = []): Promise<boolean> {
    const { isOpen, isInCharge } = this.#lifecycle.standing;
    return this.#do(isOpen && !isInCharge && this.#incoming ? 'withdraw' : event, { targets });
  }

  #prepare(): Promise<void> | undefined {
    this.#reserve.hold();
    return this.#role.prepare(() => this.close());
  }

  async #join(joining: Channel | Promise<Channel | undefined>): Promise<void> {
    const channel = await joining;
    if (!channel) return;
    const { arbiter, servers } = this.#resources;
    try {
      this.#incoming = await IncomingHandover.join(channel, this.#hello, {
        inheritance: this.#resources,
        succession: {
          mayTakeCharge: () => arbiter.take(),
          mayInherit: (predecessor) => arbiter.claim('bereft', [predecessor], { isImpatient: true }),
          takeCharge: () => this.#takeCharge(),
        },
        ends: {
          becomeAlone: (predecessor) => void this.#do('alone', { predecessor }),
          giveUp: (reason) => void this.#do('withdraw', { reason }),
        },
        vitals: {
          connectionCount: () => servers.connectionCount,
          room: () => this.#reserve.room,
          health: this.#options.health.check,
        },
        adopterOf: (listener) => servers.adopterOf(listener),
        clock: this.#env.clock,
      });
    } catch (error) {
      this.#role.unlock();
      throw error;
    }
  }

  async #becomeReady(load: () => Promise<void>): Promise<void> {
    this.expectOpen('ready()');
    await load();
    // A listener that accepted only after the end had begun would delay the end by the time of a drain.
    this.expectOpen('ready()');
    const claims = this.#resources.claims(this.#options.unclaimed);
    await this.#incoming?.expectClaimed(claims, this.#resources.ledger);
    const accept = async (): Promise<void> => {
      if (!this.#resources.isStandby) await this.#resources.servers.acceptAll();
    };
    await (this.#incoming ? this.#incoming.acceptWithRoom(accept) : accept());
    this.expectOpen('ready()');
    await this.#do('ready');
    if (!this.#incoming) return this.#takeCharge();
    await this.#incoming.announceReady(claims);
    if (this.#resources.isStandby) await this.#chargeTaken.promise;
  }

  /** Takes charge, once: further calls return the same promise. It resolves when this process is in charge. */
  #takeCharge(): Promise<void> {
    this.#takingCharge ??= this.#becomeInCharge();
    return this.#takingCharge;
  }

  async #becomeInCharge(): Promise<void> {
    this.expectOpen('ready()');
    try {
      // False: this process was told to end meanwhile.
      if (!(await this.#do('takeCharge'))) this.expectOpen('ready()');
    } catch (error) {
      if (this.#lifecycle.standing.isOpen) await this.#do('failed');
      throw error;
    }
  }

  /** Without an arbiter from a predecessor, adopts the one of its slot under a supervisor, or creates one. */
  async #obtainArbiter(): Promise<void> {
    const { arbiter } = this.#resources;
    if (arbiter.isThere) return;
    const shared = await this.#services.supervisor?.arbiter();
    if (shared === undefined) {
      arbiter.found();
      return;
    }
    arbiter.adopt(shared, 0);
    if (!(await arbiter.claim('bereft', undefined, { isImpatient: true }))) throw anotherInCharge();
  }

  #publishInCharge(): void {
    const { handoverId } = this.#incoming ?? {};
    const { claimed } = this.#resources.ledger.report();
    const { generation } = this;
    publish('in-charge', { handoverId, generation, claimed, unclaimed: this.#resources.unclaimed });
  }
}

function closed(): HandoverError {
  return new HandoverError('ERR_HANDOVER_CLOSED', 'this process is shutting down', { stillServing: false });
}
