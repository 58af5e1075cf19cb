// A process of a worker that talks to the supervisor: over the link it inherited, or because it has dialled.

import { HandoverError } from '../errors.js';
import { FdSocket } from '../fd/index.js';
import { openPidfd, Pidfd } from '../fd/pidfd.js';
import { type Handler, type Params, Rpc } from '../protocol/rpc.js';

/** One that has dialled, as the kernel says. */
export interface Dialler {
  /** Whoever is given it owns it. */
  readonly fd: number;
  readonly pid: number;
  /** Undefined where the kernel has none: the end of its link is then all that is known of its own. */
  readonly pidfd: Pidfd | undefined;
}

export interface MemberHost {
  /** What it may ask. */
  readonly calls: (member: Member) => Readonly<Record<string, Handler>>;
  readonly onTold: (member: Member, name: string, params: Params) => void;
}

export class Member {
  readonly rpc: Rpc;
  readonly hasDialled: boolean;
  /** It has said that it knows what a handover is. */
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

  /** The process that was started, which has the link from its birth; owns `fd`. */
  static started(fd: number, pid: number, exited: Promise<unknown>, host: MemberHost): Member {
    const member = new Member(fd, pid, exited, host);
    // The child keeps the supervisor alive.
    member.rpc.unref();
    return member;
  }

  /** Keeps the supervisor alive until it has ended, whatever it was started by. */
  static dialled({ fd, pid, pidfd }: Dialler, host: MemberHost): Member {
    return new Member(fd, pid, pidfd, host);
  }

  get pid(): number {
    return this.#pid;
  }

  /** Resolves when its process has ended, as far as that can be known. */
  get exited(): Promise<unknown> {
    return this.#exited;
  }

  /** The link was passed on to another process by the one that was started. */
  becomes(pid: number): void {
    const pidfd = openPidfd(pid);
    this.#pid = pid;
    this.#pidfd = pidfd === undefined ? undefined : new Pidfd(pidfd);
    this.#exited = this.#pidfd?.exited ?? this.rpc.closed;
  }

  kill(): void {
    if (this.#pidfd) this.#pidfd.kill('SIGKILL');
    // Without pidfds: it had its link open a moment ago.
    else if (this.hasDialled) tryKill(this.#pid, 'SIGKILL');
  }

  close(): void {
    this.rpc.close();
    this.#pidfd?.close();
  }
}

/** For a process that may have gone meanwhile. */
export function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {}
}

const REFUSAL_GRACE = 5_000;

/** Answers what every process that dials asks first, and hangs up. */
export function refuseDialler({ fd, pidfd }: Dialler, reason: string): void {
  pidfd?.close();
  const refuse = (): never => {
    throw refused(reason);
  };
  const rpc = new Rpc(new FdSocket(fd), { calls: { channel: refuse } });
  rpc.unref();
  // It asks at once, or is none of this package.
  const timer = setTimeout(() => rpc.close(), REFUSAL_GRACE).unref();
  void rpc.closed.then(() => clearTimeout(timer));
}

export function refused(reason: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_SUPERVISOR_REFUSED', reason, { phase: 'PREPARE', stillServing: false });
}
