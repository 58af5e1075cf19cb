// Answers operators and orchestrators: the methods of the control socket, and the readiness for the health endpoint.

import { authority } from '../endpoints/ip.js';
import { eventChannel, type HandoverEventName, type HandoverEvents } from '../events.js';
import { VERSION } from '../fd/package.js';
import { successorFiles } from '../platform/command.js';
import { changesBetween, identifyRelease, type Release } from '../platform/release.js';
import type { ControlAnswers, Plan, Status } from '../protocol/control-commands.js';
import { sleep } from '../protocol/deadline.js';
import type { DrainingGeneration } from '../protocol/frames.js';
import type { AskedProcess } from './asked.js';
import { type ControlCall, type ControlMethods, checked, givenUpBy, type Methods } from './control.js';
import type { Readiness } from './health-endpoint.js';
import { planOf } from './plan.js';
import { questionMethods } from './question.js';
import { QUESTIONS } from './questions.js';

export class Operations {
  readonly #asked: AskedProcess;
  /**
   * The release of this process, as the file system had it at the start; undefined without a control socket or if
   * unreadable.
   */
  readonly #release: Release | undefined;
  /** Whether a drain was announced: load balancers are to notice before this process stops accepting. */
  #isLeaving = false;

  constructor(asked: AskedProcess) {
    this.#asked = asked;
    this.#release = asked.options.control === undefined ? undefined : this.#identify();
  }

  readonly readiness = (): Readiness => {
    const { generation, isInCharge, phase } = this.#asked.describe();
    const reason = this.#isLeaving ? 'draining' : isInCharge ? undefined : phase;
    return { reason, generation, pid: this.#asked.env.pid };
  };

  /** From now on this process reports itself as not ready, and serves on. */
  readonly leaveSoon = (): void => {
    this.#isLeaving = true;
  };

  get methods(): Methods {
    const methods: ControlMethods<'process'> = {
      status: () => this.#status(),
      plan: (call) => this.#plan(call),
      upgrade: (call) => this.#upgrade(call),
      abort: (call) => this.#abort(call),
      drain: (call) => this.#drain(call),
    };
    return {
      ...checked(methods),
      ...questionMethods(QUESTIONS, ({ process }) => process?.bind(undefined, this.#asked)),
    };
  }

  #status(): Status {
    const { generation, phase, isInCharge, connectionCount, draining } = this.#asked.describe();
    const { listeners, arbiter } = this.#asked.resources;
    const charge = arbiter.status;
    const { pid } = this.#asked.env;
    const { control, takeover, health } = this.#asked.options;
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
    const young = identifyRelease(successorFiles(this.#asked.env, this.#asked.start, this.#asked.options.successor));
    const standby = await this.#asked.orders.prepare({ requester: { by: 'control', ...peer } });
    try {
      const { argv, execArgv, directory } = this.#asked.start;
      const old = { command: [this.#asked.env.execPath, ...execArgv, ...argv.slice(1)], cwd: directory.physical };
      return planOf(old, young, this.#changes(young), this.#asked.resources.listeners, standby.claims);
    } finally {
      await standby.discard();
    }
  }

  async #upgrade({ params, peer, tell }: ControlCall<'upgrade'>): Promise<ControlAnswers['upgrade']> {
    if (params.ifChanged) {
      const young = identifyRelease(successorFiles(this.#asked.env, this.#asked.start, this.#asked.options.successor));
      const changes = this.#changes(young);
      if (changes.length === 0)
        return { isUnchanged: true, generation: this.#asked.describe().generation, pid: this.#asked.env.pid };
      tell('changes', { changes });
    }
    const stop = listen('phase', ({ phase, role, generation }) => {
      if (role === 'predecessor') tell('phase', { phase, generation });
    });
    try {
      const { phases, ...outcome } = await this.#asked.orders.upgrade({
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
    return { phase: await this.#asked.orders.abortUpgrade(givenUpBy(peer)) };
  }

  /** Reports not ready at once, serves on for `delay` ms, then closes this process; answers when it has closed. */
  async #drain({ params: { delay }, tell }: ControlCall<'drain'>): Promise<ControlAnswers['drain']> {
    this.leaveSoon();
    if (delay > 0) {
      tell('phase', { phase: 'NOT_READY', generation: this.#asked.describe().generation });
      await sleep(delay, this.#asked.env.clock);
    }
    tell('phase', { phase: 'DRAIN', generation: this.#asked.describe().generation });
    let result: ControlAnswers['drain'] = {};
    const stop = listen('drained', ({ moved, cut, durationMs }) => {
      result = { moved, cut, durationMs };
    });
    try {
      await this.#asked.orders.close();
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
      return identifyRelease(successorFiles(this.#asked.env, this.#asked.start, this.#asked.options.successor));
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
