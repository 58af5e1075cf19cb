// What the server processes of one case said, in the order it came: who accepted, began and ended what, and which
// events they had.
import type { Failure } from './client.js';
import { Owners } from './owners.js';

/** One line of fixtures/server.mjs; `at` is CLOCK_MONOTONIC in ms, the same clock for all. */
export interface Said extends Fields {
  readonly pid: number;
  readonly at: number;
  readonly event: string;
}

export type Fields = Readonly<Record<string, unknown>>;

interface Waiting {
  readonly matches: (said: Said) => boolean;
  readonly resolve: (said: Said) => void;
}

const TRAFFIC = ['accept', 'closed', 'holds', 'begin', 'end'];

export class Log {
  readonly all: Said[] = [];
  readonly #waiting = new Set<Waiting>();
  /** The one request that each killed process may have had without a word. */
  readonly #unsaid = new Map<number, string>();
  readonly #owners = new Owners((pid) => this.isGone(pid));

  add(said: Said): void {
    if (said.event === 'duty-begin') this.#noteOverlap(said);
    this.all.push(said);
    this.#owners.note(said);
    for (const waiting of this.#waiting) {
      if (!waiting.matches(said)) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(said);
    }
  }

  /** The first line that matches, said or to be said. */
  when(matches: (said: Said) => boolean): Promise<Said> {
    const found = this.all.find(matches);
    if (found) return Promise.resolve(found);
    return new Promise((resolve) => this.#waiting.add({ matches, resolve }));
  }

  /** The first event of this name of that process. */
  async first<T>(pid: number, event: string): Promise<T> {
    return (await this.when((said) => said.pid === pid && said.event === event)) as T;
  }

  /** The first event of this name of that process that it said after `at`, a moment of its clock. */
  async firstSince<T>(at: number, pid: number, event: string): Promise<T> {
    return (await this.when((said) => said.pid === pid && said.event === event && said.at > at)) as T;
  }

  has(pid: number, event: string): boolean {
    return this.of(pid, event).length > 0;
  }

  of(pid: number, event: string): Said[] {
    return this.all.filter((said) => said.pid === pid && said.event === event);
  }

  fields<T>(pid: number, event: string): T {
    return this.of(pid, event)[0] as T;
  }

  hasFrame(pid: number | undefined, direction: string, name: string): boolean {
    return this.all.some(
      (said) => said.pid === pid && said.event === 'frame' && said.direction === direction && said.name === name,
    );
  }

  /** The first process that began as a successor. */
  get successor(): number | undefined {
    return this.all.find(({ event, role }) => event === 'start' && role === 'successor')?.pid;
  }

  get #pids(): number[] {
    return [...new Set(this.all.map(({ pid }) => pid))];
  }

  /** Processes that ended without the end of their drain: killed, or by their own fault. */
  get dead(): ReadonlySet<number> {
    return new Set(this.#pids.filter((pid) => !this.has(pid, 'drained') || this.hasDied(pid)));
  }

  hasDied(pid: number): boolean {
    return !this.has(pid, 'exit') || this.of(pid, 'fault').some(({ kind }) => /^(exit|throw|kill)/.test(String(kind)));
  }

  /** Whether a request died with a process that alone had its connection. */
  ownedByTheDead(failure: Failure): boolean {
    const { dead } = this;
    const key = this.#keyOf(failure);
    if (key !== undefined) return dead.has(this.#owners.diedWith(key) ?? 0);
    if (this.#diedAccepting(failure)) return true;
    if (failure.target !== 'unix') return false;
    // A Unix client has no name: as many as were accepted and never said a word can be it.
    const begun = new Set(this.all.filter(({ event }) => event === 'begin').map((said) => said.key));
    const silent = this.all.find(
      ({ event, kind, key }) =>
        event === 'accept' && kind === 'unix' && !begun.has(key) && dead.has(this.#owners.diedWith(String(key)) ?? 0),
    );
    if (silent) begun.add(silent.key);
    return silent !== undefined;
  }

  /** The process that alone had the connection when it died. */
  diedWith(failure: Failure): number | undefined {
    const key = this.#keyOf(failure);
    return key === undefined ? undefined : this.#owners.diedWith(key);
  }

  /**
   * A process that is killed between accept(2) and its line takes one connection along that nobody knows of. Had it still
   * been in the queue, the other process would have it.
   */
  #diedAccepting({ id }: Failure): boolean {
    const killed = this.#pids.find(
      (pid) => !this.has(pid, 'exit') && this.isGone(pid) && [undefined, id].includes(this.#unsaid.get(pid)),
    );
    if (killed !== undefined) this.#unsaid.set(killed, id);
    return killed !== undefined;
  }

  #keyOf({ id, before, port }: Failure): string | undefined {
    const said =
      this.all.find(({ event, id: begun }) => event === 'begin' && (begun === id || begun === before)) ??
      this.all.find(({ event, port: from }) => event === 'accept' && port !== undefined && from === port);
    return said && String(said.key);
  }

  /** Connections that a process used while another one had them. */
  get shared(): readonly string[] {
    return this.#owners.shared;
  }

  /** Whether that process has said HELD for this connection. */
  hasHeld(key: string, pid: number): boolean {
    return this.#owners.hasHeld(key, pid);
  }

  /** Connections that were a process' alone when it died. */
  lostWith(pid: number): number {
    const accepted = new Set(this.all.filter(({ event }) => event === 'accept').map(({ key }) => String(key)));
    return [...accepted].filter((key) => this.#owners.diedWith(key) === pid).length;
  }

  /** Requests that two processes began, or one began twice, or one began on a connection another had. */
  begunTwice(): string[] {
    const begun = new Map<unknown, number>();
    const twice: string[] = [...this.shared];
    for (const { event, id, pid } of this.all) {
      if (event !== 'begin') continue;
      if (begun.has(id)) twice.push(`${id}: by ${begun.get(id)} and ${pid}`);
      begun.set(id, pid);
    }
    return twice;
  }

  /** Who said that its duty runs, and not that it has ended, and lives. */
  get dutiesRunning(): number[] {
    return this.#pids.filter((pid) => {
      const count = this.of(pid, 'duty-begin').length - this.of(pid, 'duty-end').length;
      return count > 0 && !this.has(pid, 'exit') && !this.has(pid, 'ended') && !this.isGone(pid);
    });
  }

  /** Set by whoever knows that a process has gone that could not say so. */
  isGone: (pid: number) => boolean = () => false;

  /** Times at which the work of the one in charge began in a process while it still ran in another that lived. */
  readonly overlaps: string[] = [];

  #noteOverlap({ pid }: Said): void {
    for (const other of this.dutiesRunning) {
      if (other !== pid) this.overlaps.push(`the duty began in ${pid} while it ran in ${other}`);
    }
  }

  /** Everything but the traffic, for people. */
  story(first: number): string {
    const start = this.all[0]?.at ?? 0;
    const who = new Map(this.#pids.map((pid, index) => [pid, pid === first ? 'first ' : `then ${index}`]));
    return this.all
      .filter(({ event }) => !TRAFFIC.includes(event))
      .map(
        ({ pid, at, event, ...rest }) =>
          `  ${(at - start).toFixed(1).padStart(8)} ${who.get(pid)} ${pid} ${event} ${JSON.stringify(rest)}`,
      )
      .join('\n');
  }
}
