// A process of a worker that talks to the supervisor: over the link it inherited, or over a connection it dialled.

import { HandoverError } from '../errors.js';
import { FdSocket } from '../fd/index.js';
import { openPidfd, Pidfd } from '../fd/pidfd.js';
import { type Handler, type Params, Rpc } from '../protocol/rpc.js';

/** A process that dialled, as the kernel identifies it. */
export interface Dialler {
  /** The receiver owns it. */
  readonly fd: number;
  readonly pid: number;
  /** Undefined where the kernel has no pidfds: only the end of the link then tells that the process has ended. */
  readonly pidfd: Pidfd | undefined;
}

export interface MemberHost {
  /** The requests that the member may send. */
  readonly calls: (member: Member) => Readonly<Record<string, Handler>>;
  readonly onTold: (member: Member, name: string, params: Params) => void;
}

export class Member {
  readonly rpc: Rpc;
  readonly hasDialled: boolean;
  /** The process has said that it knows handovers. */
  hasGreeted = false;
  #pid: number;
  #pidfd: Pidfd | undefined;
  #exited: Promise<unknown>;

  private constructor(fd: number, pid: number, exited: Promise<unknown> | Pidfd | undefined, host: MemberHost) {
    this.#pid = pid;
    this.rpc = new Rpc(new FdSocket(fd), {
      calls: host.calls(this),
      onEvent: (name, params) => host.onTold(this, name, params),
    });
    this.hasDialled = !(exited instanceof Promise);
    this.#pidfd = exited instanceof Pidfd ? exited : undefined;
    this.#exited = exited instanceof Promise ? exited : (exited?.exited ?? this.rpc.closed);
  }

  /** The started process, which inherited the link; owns `fd`. */
  static started(fd: number, pid: number, exited: Promise<unknown>, host: MemberHost): Member {
    const member = new Member(fd, pid, exited, host);
    // The child process already keeps the supervisor alive.
    member.rpc.unref();
    return member;
  }

  /** Keeps the supervisor alive until the process has ended: it need not be the supervisor's child. */
  static dialled({ fd, pid, pidfd }: Dialler, host: MemberHost): Member {
    return new Member(fd, pid, pidfd, host);
  }

  get pid(): number {
    return this.#pid;
  }

  /** Resolves when the process has ended; without a pidfd, when its link has closed. */
  get exited(): Promise<unknown> {
    return this.#exited;
  }

  /** The started process has passed the link on to another process. */
  becomes(pid: number): void {
    const pidfd = openPidfd(pid);
    this.#pid = pid;
    this.#pidfd = pidfd === undefined ? undefined : new Pidfd(pidfd);
    this.#exited = this.#pidfd?.exited ?? this.rpc.closed;
  }

  kill(): void {
    if (this.#pidfd) this.#pidfd.kill('SIGKILL');
    // Without pidfds the pid may be reused, but the process had its link open a moment ago.
    else if (this.hasDialled) tryKill(this.#pid, 'SIGKILL');
  }

  close(): void {
    this.rpc.close();
    this.#pidfd?.close();
  }
}

/** Signals a process that may have ended meanwhile. */
export function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {}
}

const REFUSAL_GRACE = 5_000;

/** Answers the first request of every dialler (`channel`) with the reason, and hangs up. */
export function refuseDialler({ fd, pidfd }: Dialler, reason: string): void {
  pidfd?.close();
  const refuse = (): never => {
    throw refused(reason);
  };
  const rpc = new Rpc(new FdSocket(fd), { calls: { channel: refuse } });
  rpc.unref();
  // A process of this package sends its request at once; another one is cut off.
  const timer = setTimeout(() => rpc.close(), REFUSAL_GRACE).unref();
  void rpc.closed.then(() => clearTimeout(timer));
}

export function refused(reason: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_SUPERVISOR_REFUSED', reason, { phase: 'PREPARE', stillServing: false });
}
