// Answers operators and orchestrators: the methods of the control socket, and the readiness for the health endpoint.

import { authority } from '../endpoints/ip.js';
import type { HandoverError } from '../errors.js';
import { eventChannel, type HandoverEventName, type HandoverEvents } from '../events.js';
import { VERSION } from '../fd/package.js';
import type { UpgradeOutcome } from '../handover/outcome.js';
import { successorFiles } from '../platform/command.js';
import type { Env } from '../platform/env.js';
import { changesBetween, identifyRelease, type Release } from '../platform/release.js';
import type { Start } from '../platform/start.js';
import type { ControlAnswers, Plan, Status } from '../protocol/control-commands.js';
import { sleep } from '../protocol/deadline.js';
import type { DrainingGeneration } from '../protocol/frames.js';
import { type ControlCall, type ControlMethods, givenUpBy } from './control.js';
import type { Readiness } from './health-endpoint.js';
import type { CheckedOptions } from './options.js';
import { planOf } from './plan.js';
import type { Resources } from './resources.js';
import type { Standby } from './standby.js';
import type { UpgradeOptions } from './types.js';

/** The state of the process. */
export interface ProcessDescription {
  readonly generation: number;
  readonly isInCharge: boolean;
  readonly phase: string;
  readonly connectionCount: number;
  readonly draining: readonly DrainingGeneration[];
}

/** What the process does at an operator's request. */
export interface ProcessOrders {
  upgrade(options?: UpgradeOptions): Promise<UpgradeOutcome>;
  prepare(options?: UpgradeOptions): Promise<Standby>;
  /** Aborts the handover under way, or a waiting standby. Resolves when it has ended, with its last phase. */
  abortUpgrade(reason: HandoverError): Promise<string | undefined>;
  close(): Promise<void>;
}

export class Operations {
  readonly #describe: () => ProcessDescription;
  readonly #orders: ProcessOrders;
  readonly #resources: Pick<Resources, 'listeners' | 'arbiter'>;
  readonly #env: Env;
  readonly #options: CheckedOptions;
  readonly #start: Start;
  /**
   * The release of this process, as the file system had it at the start; undefined without a control socket or if
   * unreadable.
   */
  readonly #release: Release | undefined;
  /** Whether a drain was announced: load balancers are to notice before this process stops accepting. */
  #isLeaving = false;

  constructor(
    describe: () => ProcessDescription,
    orders: ProcessOrders,
    resources: Pick<Resources, 'listeners' | 'arbiter'>,
    env: Env,
    options: CheckedOptions,
    start: Start,
  ) {
    this.#describe = describe;
    this.#orders = orders;
    this.#resources = resources;
    this.#env = env;
    this.#options = options;
    this.#start = start;
    this.#release = options.control === undefined ? undefined : this.#identify();
  }

  readonly readiness = (): Readiness => {
    const { generation, isInCharge, phase } = this.#describe();
    const reason = this.#isLeaving ? 'draining' : isInCharge ? undefined : phase;
    return { reason, generation, pid: this.#env.pid };
  };

  /** From now on this process reports itself as not ready, and serves on. */
  readonly leaveSoon = (): void => {
    this.#isLeaving = true;
  };

  readonly methods: ControlMethods<'process'> = {
    status: () => this.#status(),
    plan: (call) => this.#plan(call),
    upgrade: (call) => this.#upgrade(call),
    abort: (call) => this.#abort(call),
    drain: (call) => this.#drain(call),
  };

  #status(): Status {
    const { generation, phase, isInCharge, connectionCount, draining } = this.#describe();
    const { listeners, arbiter } = this.#resources;
    const charge = arbiter.status;
    const { pid } = this.#env;
    const { control, takeover, health } = this.#options;
    const { endpoint } = health;
    return {
      kind: 'process',
      version: VERSION,
      generation,
      pid,
      ageMs: Math.round(performance.now()),
      phase: this.#isLeaving && isInCharge ? 'draining' : phase,
      isInCharge,
      listeners,
      connections: [{ generation, pid, connections: connectionCount }, ...draining.map(countOf)],
      draining: draining.map((older) => ({ ...countOf(older), ageMs: older.age })),
      ...(charge && { charges: [charge] }),
      control,
      takeover: takeover?.path,
      healthEndpoint: endpoint && (endpoint.path ?? authority(endpoint.host ?? '*', endpoint.port ?? 0)),
    };
  }

  async #plan({ peer }: ControlCall<'plan'>): Promise<Plan> {
    const young = identifyRelease(successorFiles(this.#env, this.#start, this.#options.successor));
    const standby = await this.#orders.prepare({ requester: { by: 'control', ...peer } });
    try {
      const { argv, execArgv, directory } = this.#start;
      const old = { command: [this.#env.execPath, ...execArgv, ...argv.slice(1)], cwd: directory.physical };
      return planOf(old, young, this.#changes(young), this.#resources.listeners, standby.claims);
    } finally {
      await standby.discard();
    }
  }

  async #upgrade({ params, peer, tell }: ControlCall<'upgrade'>): Promise<ControlAnswers['upgrade']> {
    if (params.ifChanged) {
      const young = identifyRelease(successorFiles(this.#env, this.#start, this.#options.successor));
      const changes = this.#changes(young);
      if (changes.length === 0)
        return { isUnchanged: true, generation: this.#describe().generation, pid: this.#env.pid };
      tell('changes', { changes });
    }
    const stop = listen('phase', ({ phase, role, generation }) => {
      if (role === 'predecessor') tell('phase', { phase, generation });
    });
    try {
      const { phases, ...outcome } = await this.#orders.upgrade({
        requester: { by: 'control', ...peer },
        profile: params.profile,
      });
      return { ...outcome, phases: phases.map((phase) => ({ ...phase })) };
    } finally {
      stop();
    }
  }

  /** The answer has no phase if no handover was under way. */
  async #abort({ peer }: ControlCall<'abort'>): Promise<ControlAnswers['abort']> {
    return { phase: await this.#orders.abortUpgrade(givenUpBy(peer)) };
  }

  /** Reports not ready at once, serves on for `delay` ms, then closes this process; answers when it has closed. */
  async #drain({ params: { delay }, tell }: ControlCall<'drain'>): Promise<ControlAnswers['drain']> {
    this.leaveSoon();
    if (delay > 0) {
      tell('phase', { phase: 'NOT_READY', generation: this.#describe().generation });
      await sleep(delay, this.#env.clock);
    }
    tell('phase', { phase: 'DRAIN', generation: this.#describe().generation });
    let result: ControlAnswers['drain'] = {};
    const stop = listen('drained', ({ moved, cut, durationMs }) => {
      result = { moved, cut, durationMs };
    });
    try {
      await this.#orders.close();
      return result;
    } finally {
      stop();
    }
  }

  #changes(young: Release): string[] {
    return this.#release ? changesBetween(this.#release, young) : ['the release of this process could not be read'];
  }

  /** Undefined if the executable is gone, which `upgrade()` reports. */
  #identify(): Release | undefined {
    try {
      return identifyRelease(successorFiles(this.#env, this.#start, this.#options.successor));
    } catch {
      return undefined;
    }
  }
}

function countOf({ generation, pid, connections }: DrainingGeneration): Status['connections'][number] {
  return { generation, pid, connections };
}

function listen<N extends HandoverEventName>(name: N, heard: (payload: HandoverEvents[N]) => void): () => void {
  const listener = (payload: unknown): void => heard(payload as HandoverEvents[N]);
  const channel = eventChannel(name);
  channel.subscribe(listener);
  return () => void channel.unsubscribe(listener);
}
