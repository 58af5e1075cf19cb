// One worker: the started process, and the server that it is or wraps. The server reports its state over its link; a server
// that knows nothing of this package gets its sockets by LISTEN_FDS and reports nothing.

import { closeFd, closeFds, socketpair } from '../fd/index.js';
import { processStat } from '../fd/proc.js';
import type { Exit } from '../platform/env.js';
import { settlesWithin } from '../protocol/deadline.js';
import { Deferred } from '../protocol/deferred.js';
import type { Answer, Handler, Params, Rpc } from '../protocol/rpc.js';
import type { Entry } from '../resources/ledger.js';
import { endGroup, isOfFamily, signalGroup } from './family.js';
import { type Launch, launch } from './launch.js';
import { type Dialler, Member, type MemberHost, refuseDialler, refused, tryKill } from './member.js';

/** Everything a worker is started with, and the supervisor's answers to it. */
export interface WorkerStart extends Launch {
  /** The requests that the worker may send to the supervisor. */
  readonly calls: (worker: Worker) => Readonly<Record<string, Handler>>;
  /** The worker has reported a state, or its listeners. */
  readonly onChange: (worker: Worker) => void;
}

/** A listener as a worker names it. */
export type ListenerUse = Pick<Entry, 'name' | 'kind' | 'address'>;

/** `starting` until the worker reports another state, which a foreign one never does. */
export type WorkerState = 'starting' | 'in-charge' | 'superseded' | 'closing' | 'ended';

/** Milliseconds in which a wrapper ends with its server's exit status, after the server. */
const WRAPPER_GRACE = 1_000;
/** Processes of one worker that may talk to the supervisor at a time. */
const MAX_MEMBERS = 16;
/** The server's exit status where no wrapper is left to pass it on. */
const UNKNOWN_EXIT: Exit = { code: null, signal: null };

export class Worker {
  /** The started process: the server itself, or its wrapper (a shell, npm). */
  readonly childPid: number;
  readonly index: number;
  readonly startedAt: number = Date.now();
  /** Resolves when the server has ended, with the wrapper's exit status where the wrapper ends soon after. */
  readonly exited: Promise<Exit>;
  /** Resolves when the server has said that it knows handovers. */
  readonly greeted: Deferred<void> = new Deferred();
  /** Resolves when the worker is in charge of its slot; a new promise once it has been superseded. */
  inCharge: Deferred<void> = new Deferred();
  /** Resolves when a worker without a predecessor accepts, and waits for the charge of its slot. */
  readonly asksForCharge: Deferred<void> = new Deferred();
  state: WorkerState = 'starting';
  /** The worker has begun to end: no predecessor takes its connections back. */
  hasLeft = false;
  generation = 1;
  isAware = false;
  readonly #start: WorkerStart;
  readonly #members = new Set<Member>();
  /** The member that listens; until one does, the last that has greeted. */
  #server: Member;
  #isServerKnown = false;
  readonly #serverExited = new Deferred<void>();
  /** The channel to the predecessor, for a server that has dialled. */
  readonly #way = new Deferred<number>();
  #isWayTaken = false;
  #rest: Promise<boolean> | undefined;
  /** Listeners lent, which the worker has not reported yet. */
  #lent: readonly ListenerUse[] = [];
  #reported: readonly ListenerUse[] = [];

  private constructor(childPid: number, childExited: Promise<Exit>, link: number, start: WorkerStart) {
    this.childPid = childPid;
    this.index = start.index;
    this.#start = start;
    this.#server = this.#add(Member.started(link, childPid, childExited, this.#memberHost));
    this.exited = this.#whenEnded(childExited);
    void this.exited.then(() => this.#onEnd());
  }

  /** @throws ERR_HANDOVER_SPAWN_FAILED */
  static async start(start: WorkerStart): Promise<Worker> {
    const { pid, exited, link } = await launch(start);
    return new Worker(pid, exited, link, start);
  }

  /** Pid of the server. */
  get pid(): number {
    return this.#server.pid;
  }

  get link(): Rpc {
    return this.#server.rpc;
  }

  get hasEnded(): boolean {
    return this.state === 'ended';
  }

  /** Whether its end may leave a server behind: an unknown one, or one that its wrapper starts again. */
  get mayLeaveOthers(): boolean {
    return !this.isAware || this.pid !== this.childPid;
  }

  /** Whether a process belongs to this worker. */
  has(pid: number): boolean {
    return !this.hasEnded && isOfFamily(pid, this.childPid);
  }

  /** The listeners that the worker has reported or asked for. */
  get listeners(): readonly ListenerUse[] {
    return [...this.#reported, ...this.#lent];
  }

  /** Notes a listener that the worker was given. */
  lend(listener: ListenerUse): void {
    this.#lent = [...this.#lent, listener];
  }

  /** Takes in a process of this worker that has dialled, from behind a wrapper that passed on no descriptor. */
  admit(dialler: Dialler): void {
    const silent = [...this.#members].find(({ hasDialled, hasGreeted }) => hasDialled && !hasGreeted);
    if (this.#members.size < MAX_MEMBERS) this.#add(Member.dialled(dialler, this.#memberHost));
    else if (silent) {
      // A server greets at once after it dialled, so a silent member is none.
      this.#members.delete(silent);
      silent.close();
      this.admit(dialler);
    } else refuseDialler(dialler, `${MAX_MEMBERS} processes of worker ${this.index} talk to the supervisor already`);
  }

  /**
   * The predecessor's end of the channel to a server that has greeted. Owns `inherited`, whose other end the worker was started
   * with. A wrapper keeps that end open after its server has ended, so a server that dialled gets a new channel.
   */
  wayTo(inherited: number): number {
    if (!this.#server.hasDialled) return inherited;
    closeFd(inherited);
    const [ours, theirs] = socketpair();
    this.#way.resolve(theirs);
    return ours;
  }

  /** Signals the server alone: its children are its own to end while it lives. */
  signal(signal: NodeJS.Signals): void {
    if (!this.hasEnded) tryKill(this.pid, signal);
  }

  /** Kills the worker with all its processes. */
  kill(): void {
    signalGroup(this.childPid, 'SIGKILL');
    for (const member of this.#members) member.kill();
  }

  /** Sends SIGTERM, on which a server drains; then as {@link endsWithin}. */
  async stop(timeout: number): Promise<boolean> {
    this.signal('SIGTERM');
    return this.endsWithin(timeout);
  }

  /** Waits for the end of the worker and of its process group; kills after `timeout` ms. False: it had to kill. */
  async endsWithin(timeout: number): Promise<boolean> {
    const start = performance.now();
    if (await settlesWithin(this.exited, timeout)) {
      return this.endRest(Math.max(0, timeout - (performance.now() - start)));
    }
    this.kill();
    await this.exited;
    return false;
  }

  /**
   * Ends the processes that an ended worker has left behind: a wrapper, or a server that knows nothing of this package and
   * would go on accepting. False: a process had to be killed.
   */
  endRest(timeout: number): Promise<boolean> {
    this.#rest ??= endGroup(this.childPid, timeout);
    return this.#rest;
  }

  async #whenEnded(childExited: Promise<Exit>): Promise<Exit> {
    const exit = await Promise.race([childExited, this.#serverExited.promise]);
    if (exit) {
      if (!this.isAware || this.pid === this.childPid) return exit;
      // The wrapper has ended, and the server still serves.
      await this.#serverExited.promise;
      return UNKNOWN_EXIT;
    }
    return (await settlesWithin(childExited, WRAPPER_GRACE)) ? childExited : UNKNOWN_EXIT;
  }

  #onEnd(): void {
    this.state = 'ended';
    for (const member of this.#members) member.close();
    void this.#way.promise.then(
      (theirs) => this.#isWayTaken || closeFd(theirs),
      () => {},
    );
    this.#way.reject(refused(`worker ${this.index} has ended`));
  }

  #add(member: Member): Member {
    this.#members.add(member);
    void member.rpc.closed.then(() => member !== this.#server && this.#members.delete(member));
    return member;
  }

  get #memberHost(): MemberHost {
    return {
      calls: (member) => this.#callsOf(member),
      onTold: (member, name, params) => {
        if (name === 'hello') this.#greet(member, Number(params.pid));
        if (member === this.#server) this.#onTold(name, params);
      },
    };
  }

  #callsOf(member: Member): Readonly<Record<string, Handler>> {
    const calls = Object.entries(this.#start.calls(this)).map(([name, handler]): [string, Handler] => [
      name,
      (message) => {
        this.#becomeServer(member);
        return handler(message);
      },
    ]);
    return { ...Object.fromEntries(calls), channel: ({ fds }) => this.#tellWay(member, fds) };
  }

  /** Gives a server that has dialled its channel to the predecessor, if it has one. */
  async #tellWay(member: Member, given: Int32Array): Promise<Answer> {
    closeFds(given);
    if (this.#start.channel === undefined) return {};
    this.#becomeServer(member);
    const theirs = await this.#way.promise;
    this.#isWayTaken = true;
    return { fds: Int32Array.of(theirs) };
  }

  #onTold(name: string, { generation, listeners }: Params): void {
    if (this.hasEnded) return;
    if (typeof generation === 'number') this.generation = generation;
    if (Array.isArray(listeners)) this.#onListeners(listeners as unknown as readonly ListenerUse[]);
    if (name === 'in-charge' || name === 'superseded' || name === 'closing') this.state = name;
    if (name === 'in-charge') this.inCharge.resolve();
    if (name === 'superseded') this.inCharge = new Deferred();
    if (name === 'closing') this.hasLeft = true;
    this.#start.onChange(this);
  }

  #greet(member: Member, pid: number): void {
    if (this.hasEnded) return;
    // A pid of another pid namespace does not pass: it names another process here, or none.
    if (!member.hasDialled && pid !== this.childPid && processStat(pid)?.group === this.childPid) member.becomes(pid);
    // A process that greets but does not listen may only be the parent of the server.
    if (!this.#isServerKnown) this.#server = member;
    member.hasGreeted = true;
    this.isAware = true;
    void member.exited.then(() => member === this.#server && this.#serverExited.resolve());
    this.greeted.resolve();
  }

  /** A worker has one server, which is replaced, signalled and drained. @throws ERR_HANDOVER_SUPERVISOR_REFUSED */
  #becomeServer(member: Member): void {
    if (this.#isServerKnown && member !== this.#server) {
      throw refused(`worker ${this.index} has a server already, pid ${this.pid}: a worker is one process that listens`);
    }
    this.#server = member;
    this.#isServerKnown = true;
  }

  #onListeners(listeners: readonly ListenerUse[]): void {
    this.#reported = listeners;
    this.#lent = this.#lent.filter(({ name }) => !listeners.some((reported) => reported.name === name));
  }
}
