// Cuts connections: all that are left at the drain's deadline and, before it, one on which no byte has moved for too long.
// Counts the cut connections by groups.
import type { Socket } from 'node:net';
import type { CutConnections } from '../events.js';
import type { ConnectionSurvey, Open } from './connection-survey.js';
import { trafficOf } from './connections.js';

/** Checks in one idle timeout: a connection is cut at most a quarter of the timeout too late. */
const LOOKS = 4;

interface Watched {
  readonly traffic: number;
  readonly since: number;
}

type Reason = CutConnections['reason'];

export class ForceClose {
  readonly #listener: string;
  readonly #survey: ConnectionSurvey;
  readonly #ageOf: (socket: Socket) => number;
  readonly #groups = new Map<string, CutConnections>();
  #watched = new Map<Socket, Watched>();
  #watching: NodeJS.Timeout | undefined;

  /** `ageOf`: milliseconds since a connection was accepted. */
  constructor(listener: string, survey: ConnectionSurvey, ageOf: (socket: Socket) => number) {
    this.#listener = listener;
    this.#survey = survey;
    this.#ageOf = ageOf;
  }

  /** The connections that were cut since the drain began. */
  get groups(): readonly CutConnections[] {
    return [...this.#groups.values()];
  }

  /** Called when a drain begins. `idleTimeout` ms without a byte cut a busy connection; 0: never. */
  start(idleTimeout: number): void {
    this.stop();
    this.#groups.clear();
    if (idleTimeout === 0) return;
    this.#watching = setInterval(() => this.#look(idleTimeout), idleTimeout / LOOKS);
    this.#watching.unref();
    setImmediate(() => this.#look(idleTimeout));
  }

  stop(): void {
    clearInterval(this.#watching);
    this.#watching = undefined;
    this.#watched.clear();
  }

  /** Cuts every open connection, and returns their number. */
  cutAll(): number {
    const open = this.#survey.open();
    for (const connection of open) this.#cut(connection, 'drainTimeout');
    return open.length;
  }

  /**
   * Cuts connections without a byte. Leaves idle ones alone only where their protocol ends them (`endsIdle`): of any other
   * protocol this process cannot tell whether they are idle.
   */
  #look(idleTimeout: number): void {
    if (!this.#watching) return;
    const now = performance.now();
    const watched = new Map<Socket, Watched>();
    for (const connection of this.#survey.open()) {
      const { socket, protocol, state } = connection;
      if (protocol.endsIdle && state === 'idle') continue;
      const traffic = trafficOf(socket);
      const former = this.#watched.get(socket);
      const since = former?.traffic === traffic ? former.since : now;
      if (now - since >= idleTimeout) this.#cut(connection, 'drainIdleTimeout');
      else watched.set(socket, { traffic, since });
    }
    this.#watched = watched;
  }

  #cut({ socket, protocol, isTls, state }: Open, reason: Reason): void {
    const key = `${protocol.name} ${isTls} ${state} ${reason}`;
    const former = this.#groups.get(key);
    this.#groups.set(key, {
      listener: this.#listener,
      protocol: protocol.name,
      isTls,
      state,
      reason,
      connections: (former?.connections ?? 0) + 1,
      bytesRead: (former?.bytesRead ?? 0) + socket.bytesRead,
      bytesWritten: (former?.bytesWritten ?? 0) + socket.bytesWritten,
      oldestMs: Math.max(former?.oldestMs ?? 0, this.#ageOf(socket)),
    });
    socket.destroy();
  }
}
