// One worker: the process that was started, and the server it is or is a wrapper of, which says over its link what it is. One
// that knows nothing of this package gets its sockets by LISTEN_FDS and is silent.

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

/** What a worker is started with. */
export interface WorkerStart extends Launch {
  /** What it may ask of the supervisor. */
  readonly calls: (worker: Worker) => Readonly<Record<string, Handler>>;
  /** It has said what it is now, or what it listens on. */
  readonly onChange: (worker: Worker) => void;
}

/** A listener as a worker names it. */
export type ListenerUse = Pick<Entry, 'name' | 'kind' | 'address'>;

/** `starting` until it says more, which a foreign one never does. */
export type WorkerState = 'starting' | 'in-charge' | 'superseded' | 'closing' | 'ended';

/** A wrapper that reports how its server ended does so within this. */
const WRAPPER_GRACE = 1_000;
/** Processes of one worker that may talk to the supervisor at a time. */
const MAX_MEMBERS = 16;
/** Nobody is left to tell how it ended. */
const UNKNOWN_EXIT: Exit = { code: null, signal: null };

export class Worker {
  /** The process that was started: the server itself, or what it is wrapped in (a shell, npm). */
  readonly childPid: number;
  readonly index: number;
  readonly startedAt: number = Date.now();
  /** Its end: that of the server, and of the process that was started where that one is not much longer. */
  readonly exited: Promise<Exit>;
  /** Resolves when it has said that it knows what a handover is. */
  readonly greeted: Deferred<void> = new Deferred();
  /** Resolves when it is in charge of its slot; anew once it has been superseded. */
  inCharge: Deferred<void> = new Deferred();
  /** Resolves when it accepts, and waits for the charge of its slot: one that no predecessor hands it over to. */
  readonly asksForCharge: Deferred<void> = new Deferred();
  state: WorkerState = 'starting';
  /** It had begun to end by itself: nobody takes its connections back. */
  hasLeft = false;
  generation = 1;
  isAware = false;
  readonly #start: WorkerStart;
  readonly #members = new Set<Member>();
  /** The one that listens; until one does, the last that has greeted. */
  #server: Member;
  #isServerKnown = false;
  readonly #serverExited = new Deferred<void>();
  /** What leads to the predecessor, for a server that has dialled. */
  readonly #way = new Deferred<number>();
  #isWayTaken = false;
  #rest: Promise<boolean> | undefined;
  /** Lent, and not reported by the worker yet. */
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

  /** The server's. */
  get pid(): number {
    return this.#server.pid;
  }

  get link(): Rpc {
    return this.#server.rpc;
  }

  get hasEnded(): boolean {
    return this.state === 'ended';
  }

  /** Whether its end may leave a server behind: one that nobody knows, or in a wrapper that starts it again. */
  get mayLeaveOthers(): boolean {
    return !this.isAware || this.pid !== this.childPid;
  }

  /** Whether a process is of this worker. */
  has(pid: number): boolean {
    return !this.hasEnded && isOfFamily(pid, this.childPid);
  }

  /** What it listens on, as far as it has said or asked for it. */
  get listeners(): readonly ListenerUse[] {
    return [...this.#reported, ...this.#lent];
  }

  /** It was given a listener. */
  lend(listener: ListenerUse): void {
    this.#lent = [...this.#lent, listener];
  }

  /** A process of this worker has dialled, behind a wrapper that passed on no descriptor. */
  admit(dialler: Dialler): void {
    const silent = [...this.#members].find(({ hasDialled, hasGreeted }) => hasDialled && !hasGreeted);
    if (this.#members.size < MAX_MEMBERS) this.#add(Member.dialled(dialler, this.#memberHost));
    else if (silent) {
      // Whoever dials says at once what it is.
      this.#members.delete(silent);
      silent.close();
      this.admit(dialler);
    } else refuseDialler(dialler, `${MAX_MEMBERS} processes of worker ${this.index} talk to the supervisor already`);
  }

  /**
   * Once it has greeted: the predecessor's end of the way to it. Owns `inherited`, whose other end it was started with: a
   * wrapper keeps that open, and its end would tell nothing of the server's.
   */
  wayTo(inherited: number): number {
    if (!this.#server.hasDialled) return inherited;
    closeFd(inherited);
    const [ours, theirs] = socketpair();
    this.#way.resolve(theirs);
    return ours;
  }

  /** Signals it alone: what it has started is its own business until it has gone. */
  signal(signal: NodeJS.Signals): void {
    if (!this.hasEnded) tryKill(this.pid, signal);
  }

  /** Ends it and all it started, at once. */
  kill(): void {
    signalGroup(this.childPid, 'SIGKILL');
    for (const member of this.#members) member.kill();
  }

  /** SIGTERM, which a server takes as the word to drain; then as {@link endsWithin}. */
  async stop(timeout: number): Promise<boolean> {
    this.signal('SIGTERM');
    return this.endsWithin(timeout);
  }

  /** Waits for its end, and for that of what is left of its process group; after `timeout` ms kills. False: it had to. */
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
   * When it has ended: ends what it has left behind, a wrapper or a server that knows nothing of this package, which would go
   * on accepting. False: something had to be killed.
   */
  endRest(timeout: number): Promise<boolean> {
    this.#rest ??= endGroup(this.childPid, timeout);
    return this.#rest;
  }

  async #whenEnded(childExited: Promise<Exit>): Promise<Exit> {
    const exit = await Promise.race([childExited, this.#serverExited.promise]);
    if (exit) {
      if (!this.isAware || this.pid === this.childPid) return exit;
      // The wrapper is gone, and the server serves.
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

  /** What leads a server that has dialled to its predecessor, where it has one. */
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
    // A number of another pid namespace says nothing here.
    if (!member.hasDialled && pid !== this.childPid && processStat(pid)?.group === this.childPid) member.becomes(pid);
    // A process that has greeted and listens to nothing may only have started the one that does.
    if (!this.#isServerKnown) this.#server = member;
    member.hasGreeted = true;
    this.isAware = true;
    void member.exited.then(() => member === this.#server && this.#serverExited.resolve());
    this.greeted.resolve();
  }

  /** There is one in a worker: it is replaced, signalled and drained. @throws ERR_HANDOVER_SUPERVISOR_REFUSED */
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
