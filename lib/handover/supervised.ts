// The supervisor, as a worker of `handover run` sees it: it holds the listeners, and joins this process to its successor
// or, when it is not needed any more, to those that stay.
import { Channel } from '../channel/channel.js';
import { type Params, Rpc } from '../channel/rpc.js';
import type { Hello } from '../channel/wire.js';
import type { Adopter } from '../connections/holding.js';
import { HandoverError } from '../errors.js';
import { closeFds, FdSocket, setCloexec } from '../fd/index.js';
import type { Place } from '../ledger/address.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Lender } from './belongings.js';
import type { Env } from './env.js';
import type { UpgradeOutcome } from './outcome.js';
import { receiveConnections } from './receiving.js';
import { isUnixStream } from './start-self.js';
import { foreignProcess, type SuccessorProcess } from './successor-process.js';

/** Tells a worker which of its descriptors leads to its supervisor. */
export const SUPERVISOR_VARIABLE = 'HANDOVER_SUPERVISOR';

/** What a supervisor asks of its worker. */
export interface Supervised {
  readonly generation: number;
  readonly connectionCount: number;
  readonly isInCharge: boolean;
  /** A process that was started in its place takes over. Resolves when it is in charge. */
  giveWay(channel: Channel, process: SuccessorProcess): Promise<UpgradeOutcome>;
  /** Gives its connections to the processes at the other ends, drains the rest, and ends. Resolves when that has begun. */
  leaveTo(channels: readonly Channel[]): Promise<void>;
  /** For connections of a worker that leaves. */
  readonly hello: Hello;
  adopterOf(listener: string): Adopter | undefined;
  /** The supervisor is gone: nobody keeps this process any more. */
  close(): Promise<void>;
}

export class SupervisorLink implements Lender {
  readonly #rpc: Rpc;
  readonly #worker: Supervised;

  private constructor(fd: number, worker: Supervised) {
    this.#worker = worker;
    this.#rpc = new Rpc(new FdSocket(fd), {
      calls: {
        status: () => ({ params: this.#status() }),
        giveWay: ({ params, fds }) => this.#giveWay(params, fds),
        leaveTo: async ({ fds }) => {
          await worker.leaveTo([...fds].map((other) => new Channel(new FdSocket(other), 'predecessor')));
          return {};
        },
        receive: async ({ fds: [other, ...rest] }) => {
          closeFds(rest);
          if (other === undefined) throw new HandoverError('ERR_HANDOVER_PROTOCOL', 'receive came without a channel');
          const channel = new Channel(new FdSocket(other), 'successor');
          const moved = await receiveConnections(channel, worker.hello, (listener) => worker.adopterOf(listener));
          return { params: { moved } };
        },
      },
    });
    // A process under a supervisor ends by its own connections and timers, not by this socket.
    this.#rpc.unref();
    void this.#rpc.closed.then(() => worker.close());
  }

  /** The supervisor that started this process; undefined where none did. Removes the variable. */
  static open(env: Env, worker: Supervised): SupervisorLink | undefined {
    const { [SUPERVISOR_VARIABLE]: value } = env.variables;
    delete env.variables[SUPERVISOR_VARIABLE];
    if (value === undefined || !isUnixStream(Number(value))) return undefined;
    setCloexec(Number(value));
    return new SupervisorLink(Number(value), worker);
  }

  /** This process knows what a handover is. */
  greet(): void {
    this.#rpc.tell('hello', { pid: process.pid });
  }

  /** Says what this process is now: in charge of its place, superseded, closing. */
  tell(state: 'in-charge' | 'superseded' | 'closing'): void {
    this.#rpc.tell(state, this.#status());
  }

  /** Puts a listener that the supervisor holds into the ledger, to be claimed. @throws what bind(2) said there */
  async borrow(name: string, place: Place, ledger: Ledger): Promise<void> {
    const { kind, canonical, bind } = place;
    const { params, fds } = await this.#rpc.call('listener', { name, kind, canonical, bind: toParams(bind) });
    ledger.inherit(
      [{ name, kind, address: canonical, ...(typeof params.file === 'string' && { file: params.file }) }],
      fds,
    );
  }

  /** Has this process replaced. @throws as `upgrade()` */
  async replace(): Promise<UpgradeOutcome> {
    const { params } = await this.#rpc.call('replace');
    return params as unknown as UpgradeOutcome;
  }

  close(): void {
    this.#rpc.close();
  }

  #status(): Params {
    const { generation, connectionCount, isInCharge } = this.#worker;
    return { generation, connections: connectionCount, isInCharge };
  }

  async #giveWay({ pid }: Params, fds: Int32Array): Promise<{ readonly params: Params }> {
    const [channel, pidfd] = fds;
    if (channel === undefined) throw new HandoverError('ERR_HANDOVER_PROTOCOL', 'giveWay came without a channel');
    const process = foreignProcess(Number(pid), pidfd, { wasStarted: true });
    const outcome = await this.#worker.giveWay(new Channel(new FdSocket(channel), 'predecessor'), process);
    const { phases, claimed, unclaimed } = outcome;
    return {
      params: {
        generation: outcome.generation,
        pid: outcome.pid,
        phases: phases.map((record) => ({ ...record })),
        claimed,
        unclaimed,
      },
    };
  }
}

export function keptBySupervisor(): HandoverError {
  const message =
    'this process is kept by `handover run`, which starts its successor: a standby of its own would be nobody’s';
  return new HandoverError('ERR_HANDOVER_WOULD_ORPHAN', message, { phase: 'PREPARE' });
}

/** Raw socket options hold bytes. */
function toParams(bind: Place['bind']): Params {
  return JSON.parse(
    JSON.stringify(bind, (_, value: unknown) =>
      value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value,
    ),
  ) as Params;
}
