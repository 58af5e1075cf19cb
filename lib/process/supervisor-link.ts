// The supervisor, as a worker of `handover run` sees it: it holds the listeners, and joins this process to its successor
// or, when it is not needed any more, to those that stay.

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

/** What a supervisor has its worker do. */
export interface WorkerOrders {
  /** A process that was started in its place takes over. Resolves when it is in charge. */
  replace(channel: Channel, process: SuccessorProcess): Promise<UpgradeOutcome>;
  /**
   * Gives its connections to the processes at the other ends, drains the rest, and ends; one that is not in charge yet never
   * is. Resolves when that has begun.
   */
  transferTo(channels: readonly Channel[]): Promise<void>;
  /** The supervisor is gone: nobody keeps this process any more. */
  close(): Promise<void>;
}

/** A worker, as its supervisor finds it. */
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
  /** Told when the supervisor will end: this process serves on, and is not ready for more. */
  onLeaving: () => void = () => {};
  /** Whether this process has dialled, behind a wrapper that passed on no descriptor. */
  readonly isDialled: boolean;
  #isOpen = true;
  readonly #worker: Worker;
  /** How this process was replaced: known here before the supervisor could say so, which may find nobody any more. */
  #replaced = new Deferred<UpgradeOutcome>();

  /** Attempts to replace this process that it has told of itself. */
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
          if (other === undefined)
            throw new HandoverError('ERR_HANDOVER_PROTOCOL', 'receive came without a channel', { stillServing: true });
          const channel = new Channel(new FdSocket(other), 'successor');
          const { hello } = worker.describe();
          const moved = await receiveConnections(channel, hello, (listener) => servers.adopterOf(listener));
          return { params: { moved } };
        },
      },
    });
    // A process under a supervisor ends by its own connections and timers, not by this socket.
    this.#rpc.unref();
    void this.#rpc.closed.then(() => {
      this.#isOpen = false;
      return worker.orders.close();
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The supervisor that started this process; undefined where none did. */
  static open(env: Env, worker: Worker): SupervisorLink | undefined {
    const way = openSupervisorWay(env);
    return way && new SupervisorLink(way, worker);
  }

  /** This process knows what a handover is. */
  greet(): void {
    this.#rpc.tell('hello', { pid: process.pid });
  }

  /**
   * The channel to the predecessor, for a process that has dialled; undefined where there is none.
   * @throws ERR_HANDOVER_SUPERVISOR_REFUSED this process is of no worker, or its worker has a server already
   */
  async channel(): Promise<Channel | undefined> {
    const { fds } = await this.#rpc.call('channel');
    const [fd, ...rest] = fds;
    closeFds(rest);
    return fd === undefined ? undefined : new Channel(new FdSocket(fd), 'successor');
  }

  /** Says what this process is now: in charge of its place, superseded, closing. */
  tell(state: 'in-charge' | 'superseded' | 'closing'): void {
    // In charge again: the next one to replace it is another.
    if (state === 'in-charge') this.#replaced = new Deferred();
    this.#rpc.tell(state, this.#status());
  }

  /** Puts a listener that the supervisor holds into the ledger, to be claimed. @throws what bind(2) said there */
  async borrow(name: string, endpoint: Endpoint, ledger: Ledger): Promise<void> {
    const { kind, canonical, bind } = endpoint;
    // Twice in one process: that is refused as it is without a supervisor.
    if (ledger.holds(name, endpoint)) return;
    const { fds } = await this.#rpc.call('listener', { name, kind, canonical, bind: toParams(bind) });
    // Without the identity of its file: a Unix path is the supervisor's to remove.
    ledger.inherit([{ name, kind, address: canonical }], fds);
  }

  /** The arbiter of this process' place: a descriptor that is the caller's. Undefined from a supervisor that has none. */
  async arbiter(): Promise<number | undefined> {
    try {
      const { fds } = await this.#rpc.call('arbiter');
      closeFds(fds.subarray(1));
      return fds[0];
    } catch {
      return undefined;
    }
  }

  /** Listeners are not used any more. */
  giveBack(): void {
    this.#rpc.tell('listeners', this.#status());
  }

  /** Has this process replaced. @throws as `upgrade()`; ERR_HANDOVER_UNSUPPORTED its start cannot be profiled */
  async replace(options: UpgradeOptions): Promise<UpgradeOutcome> {
    const told = this.#failures;
    try {
      if (options.profile !== undefined) throw unprofiled();
      const asked = this.#rpc.call('replace').then(({ params }) => params as unknown as UpgradeOutcome);
      return await Promise.race([this.#replaced.promise, asked]);
    } catch (error) {
      // What failed in this process has been told.
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
    if (channel === undefined)
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', 'giveWay came without a channel', { stillServing: true });
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

/** The supervisor starts workers side by side, and none of them is its successor. */
export function unprofiled(): HandoverError {
  const message = '"profile" cannot be had under `handover run`, which starts the successors itself';
  return new HandoverError('ERR_HANDOVER_UNSUPPORTED', message, { stillServing: true });
}

export function keptBySupervisor(): HandoverError {
  const message =
    'this process is kept by `handover run`, which starts its successor: a standby of its own would be nobody’s';
  return new HandoverError('ERR_HANDOVER_WOULD_ORPHAN', message, { phase: 'PREPARE', stillServing: true });
}

/** Raw socket options hold bytes. */
function toParams(bind: Endpoint['bind']): Params {
  return JSON.parse(
    JSON.stringify(bind, (_, value: unknown) =>
      value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value,
    ),
  ) as Params;
}
