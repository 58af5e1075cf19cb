// What is no HTTP: a protocol that only the app knows. Connections of a plain net.Server, TCP or Unix, migrate by what the app
// saves of each and restores in the successor; the others stay until they end, for nothing polite can be said in it.
import type { Server, Socket } from 'node:net';
import { toError } from '../errors.js';
import { publish } from '../events.js';
import { closeFds } from '../fd/index.js';
import type { OfferedConnection } from '../protocol/batches.js';
import { Fence, isOpenBothWays } from '../sockets/fence.js';
import { adoptSocket, countConnection } from '../sockets/new-socket.js';
import { type Connections, hasBytesWaiting } from './connections.js';
import type { Migration } from './migration.js';
import {
  type Counted,
  type Detached,
  type Drain,
  type Hold,
  type Migrator,
  type Movable,
  NO_DRAIN,
  type Protocol,
  type Site,
} from './protocol.js';
import { Slices } from './slices.js';
import { decodeState, encodeState } from './state.js';

/** Servers of node:http, https and http2 speak nothing else. */
const HTTP_MEMBERS = ['closeIdleConnections', 'updateSettings'];

export function raw({ server, name, connections, migration }: Site): Protocol | undefined {
  if (HTTP_MEMBERS.some((member) => member in server)) return undefined;
  return new Raw(migration && new RawMigrator(server, name, migration, connections));
}

class Raw implements Protocol {
  readonly name = 'raw';
  readonly migrate: RawMigrator | undefined;
  readonly drain: Drain;
  readonly endsIdle = false;

  constructor(migrate: RawMigrator | undefined) {
    this.migrate = migrate;
    // They read and write on.
    this.drain = { ...NO_DRAIN, stay: () => migrate?.keepAll() };
  }

  recognise(): boolean {
    return true;
  }

  /** Only the app knows which are idle; what waits is seen. */
  count(sockets: readonly Socket[]): Counted[] {
    return sockets.map((socket) => ({ socket, state: hasBytesWaiting(socket) ? 'busy' : 'idle' }));
  }
}

/** One that leaves: fenced, then saved (its state is there), then offered. */
interface Leaving {
  readonly fence: Fence;
  readonly watch: Watch;
  /** The app has given its state. */
  isSaved: boolean;
  /** There once what the app wrote is out. */
  state: Uint8Array | undefined;
  isOffered: boolean;
}

/** One handover's interest in those that move. */
interface Watch {
  readonly callback: () => void;
  isAnnouncing: boolean;
}

interface Arriving {
  readonly socket: Socket;
  readonly state: unknown;
}

class RawMigrator implements Migrator {
  readonly protocol = 'raw';
  readonly canMove = true;
  readonly #server: Server;
  readonly #name: string;
  readonly #migration: Migration;
  readonly #connections: Connections;
  readonly #leaving = new Map<Socket, Leaving>();
  /** Here, and the app does not know it yet. */
  readonly #arriving = new WeakSet<Socket>();
  readonly #saves = new Slices<Socket>((socket) => void this.#save(socket));
  readonly #restores = new Slices<Arriving>((arriving) => void this.#restore(arriving));
  #watch: Watch | undefined;

  constructor(server: Server, name: string, migration: Migration, connections: Connections) {
    this.#server = server;
    this.#name = name;
    this.#migration = migration;
    this.#connections = connections;
  }

  hold(fd: number, { head, state }: OfferedConnection): Hold {
    try {
      const decoded = decodeState(state);
      // Not a view of the frame, which would live as long as this.
      const bytes = Buffer.from(head);
      return { go: () => this.#adopt(fd, bytes, decoded), abort: () => closeFds([fd]) };
    } catch (error) {
      closeFds([fd]);
      this.#failed('restore', error);
      return undefined;
    }
  }

  *movable(): Generator<Movable> {
    for (const [socket, leaving] of this.#leaving) {
      if (leaving.state && !leaving.isOffered) yield this.#toMovable(socket, leaving);
    }
  }

  /** The move begins: the app is asked for the state of each. */
  whenMovable(callback: () => void): () => void {
    const watch = { callback, isAnnouncing: false };
    this.#watch = watch;
    for (const socket of this.#connections.accepted) this.#saves.add(socket);
    return () => {
      if (this.#watch === watch) this.keepAll();
    };
  }

  /** Those that have not been offered stay here. */
  keepAll(): void {
    this.#watch = undefined;
    this.#saves.clear();
    for (const [socket, leaving] of this.#leaving) if (!leaving.isOffered) this.#keep(socket, leaving);
  }

  /** It stays here, as if nothing had happened. */
  #keep(socket: Socket, leaving: Leaving): void {
    if (this.#leaving.get(socket) !== leaving) return;
    this.#leaving.delete(socket);
    leaving.fence.lift();
    if (leaving.isSaved && isOpenBothWays(socket)) void this.#tellStays(socket);
  }

  async #tellStays(socket: Socket): Promise<void> {
    try {
      await this.#migration.stay?.(socket);
    } catch (error) {
      this.#failed('stay', error);
    }
  }

  async #save(socket: Socket): Promise<void> {
    const watch = this.#watch;
    if (!watch || this.#leaving.has(socket) || this.#arriving.has(socket)) return;
    const fence = isOpenBothWays(socket) ? Fence.raise(socket) : undefined;
    if (!fence) return;
    fence.takeUnread();
    const leaving: Leaving = { fence, watch, isSaved: false, state: undefined, isOffered: false };
    this.#leaving.set(socket, leaving);
    try {
      const state = await this.#migration.save(socket);
      if (state === undefined) this.#keep(socket, leaving);
      else this.#onSaved(socket, leaving, encodeState('the state of a connection', state));
    } catch (error) {
      this.#failed('save', error);
      this.#keep(socket, leaving);
    }
  }

  #onSaved(socket: Socket, leaving: Leaving, state: Uint8Array): void {
    leaving.isSaved = true;
    // The handover failed meanwhile, and it has been reading on since.
    if (this.#leaving.get(socket) !== leaving) {
      if (isOpenBothWays(socket)) void this.#tellStays(socket);
      return;
    }
    leaving.fence.stopClock();
    this.#whenFlushed(socket, leaving, () => {
      leaving.state = state;
      this.#announce(leaving.watch);
    });
  }

  /** What the app wrote is sent by this process; what ends one direction ends the move. */
  #whenFlushed(socket: Socket, leaving: Leaving, done: () => void): void {
    if (this.#leaving.get(socket) !== leaving) return;
    if (!isOpenBothWays(socket)) this.#keep(socket, leaving);
    else if (socket.writableLength === 0) done();
    // No event tells when the last byte is out: an empty write comes back after it.
    else socket.write('', () => this.#whenFlushed(socket, leaving, done));
  }

  #announce(watch: Watch): void {
    if (watch.isAnnouncing) return;
    watch.isAnnouncing = true;
    setImmediate(() => {
      watch.isAnnouncing = false;
      if (this.#watch === watch) watch.callback();
    });
  }

  #toMovable(socket: Socket, leaving: Leaving): Movable {
    return {
      listener: this.#name,
      protocol: this.protocol,
      identity: socket,
      detach: () => this.#detach(socket, leaving),
      release: () => {
        this.#leaving.delete(socket);
        leaving.fence.release();
        this.#connections.remove(socket);
      },
      // The app is asked once: until there is room it could be read by nobody.
      stay: () => this.#keep(socket, leaving),
      resume: ({ forGood }) => {
        leaving.isOffered = false;
        // It may be offered again, and the app is asked once.
        if (!forGood && this.#watch === leaving.watch) leaving.fence.resumeWriting();
        else this.#keep(socket, leaving);
      },
    };
  }

  #detach(socket: Socket, leaving: Leaving): Detached | undefined {
    const { fence, state } = leaving;
    if (!state || leaving.isOffered || this.#leaving.get(socket) !== leaving) return undefined;
    if (!isOpenBothWays(socket)) this.#keep(socket, leaving);
    else if (socket.writableLength > 0) this.#whenFlushed(socket, leaving, () => this.#announce(leaving.watch));
    else {
      fence.hold();
      leaving.isOffered = true;
      return { fd: fence.fd, head: fence.head, state };
    }
    return undefined;
  }

  /** From here on it is ours, and counts; the app gets it in its turn. */
  #adopt(fd: number, head: Uint8Array, state: unknown): void {
    let socket: Socket;
    try {
      socket = adoptSocket(fd, this.#server);
    } catch (error) {
      closeFds([fd]);
      this.#failed('restore', error);
      return;
    }
    countConnection(this.#server, socket);
    this.#connections.add(socket);
    if (head.length > 0) socket.unshift(head);
    this.#arriving.add(socket);
    this.#restores.add({ socket, state });
  }

  async #restore({ socket, state }: Arriving): Promise<void> {
    this.#arriving.delete(socket);
    if (socket.destroyed) return;
    try {
      await this.#migration.restore(socket, state);
      // The next handover may have begun; but not before the app has it.
      if (this.#watch) this.#saves.add(socket);
    } catch (error) {
      this.#failed('restore', error);
      socket.destroy();
    }
  }

  #failed(hook: keyof Migration, thrown: unknown): void {
    const error = toError(thrown);
    publish('hook-failed', { name: `migrate.${hook}`, error });
  }
}
