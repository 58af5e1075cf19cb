// The servers and sockets of the app, by name: started, stopped and drained together.

import type { CutConnections } from '../events.js';
import { publish } from '../events.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import type { Managed, Where } from '../protocols/managed.js';
import type { Adopter, DrainOptions, Movable } from '../protocols/protocol.js';

interface Managing {
  readonly managed: Managed;
  /** Where it listens; called anew each time, because Node keeps the descriptor it is given. */
  readonly where: () => Where;
  /** Whether it has been added to the loop, even if it is suspended now. */
  isAccepting: boolean;
  isSuspended: boolean;
}

export interface DrainLimits extends Required<DrainOptions> {
  readonly recalled?: AbortSignal;
}

/** The connections that had to be ended by force. */
export interface DrainResult {
  readonly cut: number;
  readonly cutConnections: readonly CutConnections[];
}

export class Servers {
  readonly #clock: Clock;
  readonly #servers = new Map<string, Managing>();
  /** Servers that the app has closed, while connections of theirs are open; their names are free. */
  readonly #closed = new Set<Managed>();
  #isAccepting = false;
  /** A server added while this is true accepts, and no successor gets it: the app needs it for its open connections. */
  #isSuspended = false;
  /** Whether servers added before `acceptAll()` emit 'listening' at once. */
  announces = false;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Open connections, also of servers that the app has closed. */
  get connectionCount(): number {
    const open = [...this.#servers.values()].map(({ managed }) => managed);
    return [...open, ...this.#ending()].reduce((count, { connectionCount }) => count + connectionCount, 0);
  }

  /** Adds a server, which accepts from `acceptAll()` on; or at once, after `acceptAll()` or `suspendAll()`. */
  async add(name: string, managed: Managed, where: () => Where): Promise<void> {
    const managing = { managed, where, isAccepting: false, isSuspended: false };
    this.#servers.set(name, managing);
    if (this.#isAccepting || this.#isSuspended) await accept(managing);
    else if (this.announces) await announce(managing);
  }

  has(name: string): boolean {
    return this.#servers.has(name);
  }

  /** Frees the name of a server that the app has closed. Its connections stay until they end, or the drain ends them. */
  remove(name: string): void {
    const managing = this.#servers.get(name);
    this.#servers.delete(name);
    if (managing) this.#closed.add(managing.managed);
  }

  async acceptAll(): Promise<void> {
    this.#isAccepting = true;
    this.announces = false;
    await Promise.all([...this.#servers.values()].map((managing) => resume(managing, false)));
  }

  /** Stops accepting, except for servers of `staying` names, without an event for the app. */
  suspendAll(staying: (name: string) => boolean = () => false): void {
    this.#isAccepting = false;
    this.#isSuspended = true;
    for (const [name, managing] of this.#servers) {
      if (!managing.isAccepting || managing.isSuspended || staying(name)) continue;
      managing.isSuspended = true;
      managing.managed.suspend();
    }
  }

  /** Undoes `suspendAll`; `reopen`: also servers that the app has closed meanwhile. */
  async resumeAll({ reopen }: { readonly reopen: boolean }): Promise<void> {
    this.#isAccepting = true;
    this.#isSuspended = false;
    for (const managed of this.#ending()) managed.endDrain();
    const resumed = await Promise.allSettled([...this.#servers.values()].map((managing) => resume(managing, reopen)));
    // A server that fails to resume must not stop the others, nor end the only process that serves.
    for (const result of resumed) {
      if (result.status === 'rejected') publish('hook-failed', { name: 'resume', error: result.reason as Error });
    }
  }

  /** Ends every connection politely; after `timeout` ms by force, unless recalled. */
  async drainAll({ recalled, ...options }: DrainLimits): Promise<DrainResult> {
    const closed = this.#ending();
    const servers = [...this.#accepting().map(({ managed }) => managed), ...closed];
    // The successor may have no server for the connections of a closed one.
    const drained = Promise.all(
      servers.map((managed) => managed.drain(closed.includes(managed) ? { ...options, moves: false } : options)),
    );
    const isRecalled = new Promise((resolve) => recalled?.addEventListener('abort', resolve, { once: true }));
    const isInTime = await settlesWithin(Promise.race([drained, isRecalled]), options.timeout, this.#clock);
    if (!isInTime) for (const managed of servers) managed.cut();
    const cutConnections = servers.flatMap(({ wasCut }) => wasCut);
    return { cut: cutConnections.reduce((count, { connections }) => count + connections, 0), cutConnections };
  }

  /** No process is left to migrate to: the rest of `drainAll` ends every connection here. */
  stayAll(): void {
    for (const { managed } of this.#accepting()) managed.stay();
  }

  /** Connections of every server that could migrate now. */
  *movable(): Generator<Movable> {
    for (const { managed } of this.#accepting()) yield* managed.movable();
  }

  /** Calls back when a connection may have become movable: look for it in a macrotask. The returned function ends that. */
  whenMovable(callback: () => void): () => void {
    const stops = this.#accepting().map(({ managed }) => managed.whenMovable(callback));
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Adopts connections that a listener of this name accepted. */
  adopterOf(name: string): Adopter | undefined {
    return this.#servers.get(name)?.managed.adopter;
  }

  /** Releases the withheld events to the app: this process cannot take back any more. */
  finishAll(): void {
    this.suspendAll();
    for (const managed of [...this.#accepting().map(({ managed }) => managed), ...this.#ending()]) managed.finish();
    this.#servers.clear();
    this.#closed.clear();
  }

  #ending(): Managed[] {
    for (const managed of this.#closed) if (managed.connectionCount === 0) this.#closed.delete(managed);
    return [...this.#closed];
  }

  #accepting(): Managing[] {
    return [...this.#servers.values()].filter(({ isAccepting }) => isAccepting);
  }
}

async function accept(managing: Managing): Promise<void> {
  if (managing.isAccepting) return;
  managing.isAccepting = true;
  await managing.managed.accept(managing.where());
}

/** Listens, but accepts nothing: the server is held back in the same turn of the loop, and connections wait in the queue. */
async function announce(managing: Managing): Promise<void> {
  await accept(managing);
  // The app may have closed the server on 'listening'.
  if (managing.managed.holdBack()) managing.isSuspended = true;
}

async function resume(managing: Managing, reopen: boolean): Promise<void> {
  if (!managing.isAccepting) return accept(managing);
  if (!managing.isSuspended) return;
  // Set before the await: a `suspendAll()` meanwhile must find the server not suspended.
  managing.isSuspended = false;
  try {
    await managing.managed.resume(managing.where, { reopen });
  } catch (error) {
    managing.isSuspended = true;
    throw error;
  }
}
