// The control socket, by which an operator asks a process or a supervisor for its status, an upgrade or its end. It is a
// Unix socket under the rules of the takeover socket, and goes to the successor at COMMIT, as that does.
import { dirname, resolve } from 'node:path';
import type { Endpoint } from '../endpoints/endpoint.js';
import { toEndpoint } from '../endpoints/kinds.js';
import { HandoverError } from '../errors.js';
import { publish } from '../events.js';
import { acceptOn } from '../fd/dial.js';
import { closeFds, FdSocket, type PeerCredentials, peerCredentials } from '../fd/index.js';
import { Guests } from '../platform/guests.js';
import { expectSafeDirectory, isSameUserOrRoot, SOCKET_MODE } from '../platform/socket-rules.js';
import {
  type AnsweredBy,
  type Answerer,
  type ControlAnswers,
  type ControlEvents,
  type ControlName,
  type ControlParams,
  controlParams,
} from '../protocol/control-commands.js';
import { type Handler, type Params, Rpc } from '../protocol/rpc.js';
import { RESERVED } from '../resources/ledger.js';

/** Name of the control socket in the ledger. */
export const CONTROL: string = `${RESERVED}control`;

/** A call of an operator. */
interface Call<P> {
  readonly params: P;
  /** The operator's process, as the kernel reports it (SO_PEERCRED). */
  readonly peer: Pick<PeerCredentials, 'pid' | 'uid'>;
  /** Sends the operator an event before the answer; lost if the operator has hung up. */
  tell<E extends keyof ControlEvents>(event: E, params: ControlEvents[E]): void;
}

export type ControlCall<N extends ControlName> = Call<ControlParams<N>>;

/** The reason of a handover that an operator aborts. */
export function givenUpBy({ pid, uid }: ControlCall<ControlName>['peer']): HandoverError {
  const message = `an operator aborted the handover (handover abort, pid ${pid ?? 'unknown'}, user ${uid})`;
  return new HandoverError('ERR_HANDOVER_CANCELLED', message, { stillServing: true });
}

/** Answers one command. Its errors go to the operator, with their codes. */
export type ControlMethod<N extends ControlName> = (
  call: ControlCall<N>,
) => ControlAnswers[N] | Promise<ControlAnswers[N]>;
/** The methods of all commands that the table of commands assigns to `A`. */
export type ControlMethods<A extends Answerer> = { readonly [N in AnsweredBy<A>]: ControlMethod<N> };
/** The methods of a process or of a supervisor. */
type AnyMethods = { readonly [N in ControlName]?: ControlMethod<N> };

/** Answers a call whose parameters are as the operator sent them. */
export type Method = (call: Call<Params>) => Params | Promise<Params>;
export type Methods = Readonly<Record<string, Method>>;

/** The methods behind the checks of the table. */
export function checked(methods: AnyMethods): Methods {
  const names = Object.keys(methods) as ControlName[];
  return Object.fromEntries(
    names.map((name) => [name, behindCheck(name, methods[name] as ControlMethod<typeof name>)]),
  );
}

function behindCheck<N extends ControlName>(name: N, method: ControlMethod<N>): Method {
  return ({ params, ...call }) => method({ ...call, params: controlParams(name, params) });
}

export interface ControlServerOptions {
  /** Whether this peer may control the process. @default the same user, and root */
  readonly allow?: (peer: PeerCredentials) => boolean;
  /** Called when the descriptor table is full, to free some descriptors. */
  readonly makeRoom?: () => void;
}

/**
 * The endpoint of the control socket, with mode 0600.
 * @throws ERR_HANDOVER_CONTROL_UNSAFE other users can write to the directory; ENOENT the directory does not exist
 */
export function controlEndpoint(path: string): Endpoint {
  const absolute = resolve(path);
  expectSafeDirectory(dirname(absolute), 'control', 'ERR_HANDOVER_CONTROL_UNSAFE');
  return toEndpoint({ path: absolute, mode: SOCKET_MODE });
}

const MAX_OPERATORS = 64;
/** Milliseconds without a call after which a connection is closed: its client hangs, or is no operator. */
const IDLE_TIMEOUT = 10_000;

interface Operator {
  readonly rpc: Rpc;
  calls: number;
}

/** Answers operators. Borrows the listener, and does not keep the process alive. */
export class ControlServer {
  readonly #methods: Methods;
  readonly #allow: (peer: PeerCredentials) => boolean;
  readonly #operators: Guests<Operator> = new Guests({
    limit: MAX_OPERATORS,
    timeout: IDLE_TIMEOUT,
    hangUp: ({ rpc }) => rpc.close(),
  });
  readonly #stopAccepting: () => void;
  #isStopped = false;
  #isClosing = false;

  constructor(listener: number, methods: Methods, options: ControlServerOptions = {}) {
    const { allow = isSameUserOrRoot, makeRoom = () => {} } = options;
    this.#methods = methods;
    this.#allow = allow;
    this.#stopAccepting = acceptOn(listener, (fd) => this.#accept(fd), makeRoom);
  }

  /** Stops accepting; call it before the listener is closed or handed over. Connected operators stay. */
  stop(): void {
    if (!this.#isStopped) this.#stopAccepting();
    this.#isStopped = true;
  }

  /** Stops accepting, and closes each connection at once, or when its calls under way have been answered. */
  close(): void {
    this.stop();
    this.#isClosing = true;
    for (const operator of this.#operators) hangUpIfDone(operator);
  }

  #accept(fd: number): void {
    const peer = peerCredentials(fd);
    const isAllowed = this.#allow(peer);
    if (!isAllowed) publish('control-refused', { uid: peer.uid, pid: peer.pid });
    const handlers = Object.entries(this.#methods).map(([name, method]): [string, Handler] => [
      name,
      ({ params, fds }) => {
        closeFds(fds);
        if (isAllowed) return this.#answer(operator, method, params, peer);
        throw new HandoverError('ERR_HANDOVER_CONTROL_REFUSED', `user ${peer.uid} may not control this process`, {
          stillServing: true,
        });
      },
    ]);
    const operator: Operator = { rpc: new Rpc(new FdSocket(fd), { calls: Object.fromEntries(handlers) }), calls: 0 };
    operator.rpc.unref();
    this.#operators.admit(operator);
    void operator.rpc.closed.then(() => this.#operators.leave(operator));
  }

  async #answer(
    operator: Operator,
    method: Method,
    given: Params,
    { pid, uid }: PeerCredentials,
  ): Promise<{ readonly params: Params }> {
    operator.calls++;
    this.#operators.busy(operator);
    try {
      const params = await method({
        params: given,
        peer: { pid, uid },
        tell: (event, told) => operator.rpc.tell(event, { ...told }),
      });
      return { params };
    } finally {
      operator.calls--;
      if (operator.calls === 0 && !operator.rpc.isClosed) this.#operators.idle(operator);
      // After the answer, or the error, has been written.
      if (this.#isClosing) setImmediate(() => hangUpIfDone(operator));
    }
  }
}

function hangUpIfDone({ rpc, calls }: Operator): void {
  if (calls === 0) rpc.close();
}
