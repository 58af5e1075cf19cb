// The link of a worker to its supervisor, `handover run`. The supervisor holds the listeners, and connects the worker to
// its successor or, when there are too many workers, to those that stay.

import type { Endpoint } from '../endpoints/endpoint.js';
import { isListenerKind } from '../endpoints/kinds.js';
import { HandoverError } from '../errors.js';
import { closeFds, FdSocket } from '../fd/index.js';
import { tellFailure } from '../handover/handover-record.js';
import type { UpgradeOutcome } from '../handover/outcome.js';
import type { Env } from '../platform/env.js';
import { foreignProcess, type SuccessorProcess } from '../platform/successor-process.js';
import { openSupervisorWay, type SupervisorSocket } from '../platform/supervisor-way.js';
import { Channel } from '../protocol/channel.js';
import { Deferred } from '../protocol/deferred.js';
import type { Hello } from '../protocol/frames.js';
import { type Params, Rpc } from '../protocol/rpc.js';
import { type Ledger, RESERVED } from '../resources/ledger.js';
import { receiveConnections } from '../transfer/rebalance-target.js';
import type { ListenerBroker, Resources } from './resources.js';
import type { UpgradeOptions } from './types.js';

/** What a worker does at its supervisor's request. */
export interface WorkerOrders {
  /** Hands over to a process that the supervisor started. Resolves when that process is in charge. */
  replace(channel: Channel, process: SuccessorProcess): Promise<UpgradeOutcome>;
  /**
   * Migrates connections to the workers at the other ends, drains the rest, and ends. A worker that is not in charge yet
   * never takes charge. Resolves when that has begun.
   */
  transferTo(channels: readonly Channel[]): Promise<void>;
  /** Ends the worker, because its supervisor is gone. */
  close(): Promise<void>;
}

/** The state and the actions of a worker, for its link. */
export interface Worker {
  describe(): {
    readonly hello: Hello;
    readonly connectionCount: number;
    readonly isInCharge: boolean;
  };
  readonly resources: Pick<Resources, 'ledger' | 'servers'>;
  readonly orders: WorkerOrders;
}

export class SupervisorLink implements ListenerBroker {
  readonly #rpc: Rpc;
  /** Called when the supervisor is about to end: this process serves on, and reports itself as not ready. */
  onLeaving: () => void = () => {};
  /** Whether this process dialled the supervisor, because a wrapper (npm, tsx) did not pass on the descriptor. */
  readonly isDialled: boolean;
  #isOpen = true;
  readonly #worker: Worker;
  /**
   * The outcome of replacing this process. The supervisor's own answer comes later, maybe after the end of this process.
   */
  #replaced = new Deferred<UpgradeOutcome>();

  /** Number of failed attempts to replace this process that this process has published. */
  #failures = 0;

  private constructor({ fd, isDialled }: SupervisorSocket, worker: Worker) {
    this.#worker = worker;
    const { servers } = worker.resources;
    this.isDialled = isDialled;
    this.#rpc = new Rpc(new FdSocket(fd), {
      onEvent: (name) => name === 'leaving' && this.onLeaving(),
      calls: {
        status: ({ fds }) => {
          closeFds(fds);
          return { params: this.#status() };
        },
        giveWay: ({ params, fds }) => this.#replace(params, fds),
        leaveTo: ({ fds }) => this.#transferTo(fds),
        receive: async ({ fds: [other, ...rest] }) => {
          closeFds(rest);
          if (other === undefined) throw noChannel('receive');
          const channel = new Channel(new FdSocket(other), 'successor');
          const { hello } = worker.describe();
          const moved = await receiveConnections(channel, hello, (listener) => servers.adopterOf(listener));
          return { params: { moved } };
        },
      },
    });
    // This socket does not keep the process alive; its connections and timers do.
    this.#rpc.unref();
    void this.#rpc.closed.then(() => {
      this.#isOpen = false;
      return worker.orders.close();
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The link to the supervisor that started this process; undefined where none did. */
  static open(env: Env, worker: Worker): SupervisorLink | undefined {
    const way = openSupervisorWay(env);
    return way && new SupervisorLink(way, worker);
  }

  /** Tells the supervisor that this process uses the package. */
  greet(): void {
    this.#rpc.tell('hello', { pid: process.pid });
  }

  /**
   * The channel to the predecessor, for a process that has dialled; undefined without a predecessor.
   * @throws ERR_HANDOVER_SUPERVISOR_REFUSED this process belongs to no worker, or its worker has a server already
   */
  async channel(): Promise<Channel | undefined> {
    const { fds } = await this.#rpc.call('channel');
    const [fd, ...rest] = fds;
    closeFds(rest);
    return fd === undefined ? undefined : new Channel(new FdSocket(fd), 'successor');
  }

  /** Tells the supervisor the new state of this process. */
  tell(state: 'in-charge' | 'superseded' | 'closing'): void {
    // In charge again: the next replacement has an outcome of its own.
    if (state === 'in-charge') this.#replaced = new Deferred();
    this.#rpc.tell(state, this.#status());
  }

  /** @throws EADDRINUSE, EACCES … as bind(2) in the supervisor; ERR_HANDOVER_PEER_LOST the supervisor is gone */
  async borrow(name: string, endpoint: Endpoint, ledger: Ledger): Promise<void> {
    const { kind, canonical, bind } = endpoint;
    // The name or address is in use in this process: the ledger refuses it, as without a supervisor.
    if (ledger.holds(name, endpoint)) return;
    const { fds } = await this.#rpc.call('listener', { name, kind, canonical, bind: toParams(bind) });
    // The entry has no file identity, because only the supervisor removes a Unix path.
    ledger.inherit([{ name, kind, address: canonical }], fds);
  }

  /** The descriptor of the slot's arbiter, which the caller owns. Undefined if the supervisor has none. */
  async arbiter(): Promise<number | undefined> {
    try {
      const { fds } = await this.#rpc.call('arbiter');
      closeFds(fds.subarray(1));
      return fds[0];
    } catch {
      return undefined;
    }
  }

  /** Tells the supervisor which listeners this process still uses. */
  giveBack(): void {
    this.#rpc.tell('listeners', this.#status());
  }

  /** Asks the supervisor to replace this process. @throws as `upgrade()`; ERR_HANDOVER_UNSUPPORTED `profile` is given */
  async replace(options: UpgradeOptions): Promise<UpgradeOutcome> {
    const told = this.#failures;
    try {
      if (options.profile !== undefined) throw unprofiled();
      const asked = this.#rpc.call('replace').then(({ params }) => params as unknown as UpgradeOutcome);
      return await Promise.race([this.#replaced.promise, asked]);
    } catch (error) {
      // A failure in this process has been published already.
      if (this.#failures === told) tellFailure(this.#worker.describe().hello, options, error);
      throw error;
    }
  }

  close(): void {
    this.#rpc.close();
  }

  #status(): Params {
    const { hello, connectionCount, isInCharge } = this.#worker.describe();
    const listeners = this.#worker.resources.ledger
      .manifest()
      .entries.filter(({ name, kind }) => isListenerKind(kind) && !name.startsWith(RESERVED))
      .map(({ name, kind, address }) => ({ name, kind, address }));
    return { generation: hello.generation, connections: connectionCount, isInCharge, listeners };
  }

  async #replace({ pid }: Params, [channel, pidfd, ...rest]: Int32Array): Promise<{ readonly params: Params }> {
    closeFds(rest);
    if (channel === undefined) throw noChannel('giveWay');
    const process = foreignProcess(Number(pid), pidfd, { wasStarted: true });
    const giving = this.#worker.orders.replace(new Channel(new FdSocket(channel), 'predecessor'), process);
    giving.catch(() => this.#failures++);
    const outcome = await giving;
    this.#replaced.resolve(outcome);
    const { generation, claimed, unclaimed } = outcome;
    const phases = outcome.phases.map((record) => ({ ...record }));
    return { params: { generation, pid: outcome.pid, phases, claimed, unclaimed } };
  }

  async #transferTo(fds: Int32Array): Promise<undefined> {
    const channels = [...fds].map((fd) => new Channel(new FdSocket(fd), 'predecessor'));
    const closeAll = (): void => {
      for (const channel of channels) channel.close();
    };
    const moves = this.#worker.describe().hello.capabilities.includes('move');
    if (!moves) closeAll();
    try {
      await this.#worker.orders.transferTo(moves ? channels : []);
    } catch (error) {
      closeAll();
      throw error;
    }
  }
}

function noChannel(call: string): HandoverError {
  const message = `the supervisor sent ${call} without a channel`;
  return new HandoverError('ERR_HANDOVER_PROTOCOL', message, { stillServing: true });
}

export function unprofiled(): HandoverError {
  const message = '"profile" does not work under `handover run`, which starts the successors itself';
  return new HandoverError('ERR_HANDOVER_UNSUPPORTED', message, { stillServing: true });
}

export function keptBySupervisor(): HandoverError {
  const message = 'a worker cannot prepare a standby: `handover run`, its supervisor, starts its successor';
  return new HandoverError('ERR_HANDOVER_WOULD_ORPHAN', message, { phase: 'PREPARE', stillServing: true });
}

/** The options as JSON, with the bytes of raw socket options as base64. */
function toParams(bind: Endpoint['bind']): Params {
  return JSON.parse(
    JSON.stringify(bind, (_, value: unknown) =>
      value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value,
    ),
  ) as Params;
}
