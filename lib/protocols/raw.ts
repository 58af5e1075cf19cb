// A protocol that is not HTTP and that only the app knows. Connections of a plain net.Server, TCP or Unix, migrate by the
// state that the app saves of each and restores in the successor. The others stay until they end, because this package
// cannot end them politely.
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

/** Members of the servers of node:http, https and http2, which speak no other protocol. */
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
    // No polite end: connections read and write on.
    this.drain = { ...NO_DRAIN, stay: () => migrate?.keepAll() };
  }

  recognise(): boolean {
    return true;
  }

  /** Busy if bytes wait. Otherwise idle, as far as this process can tell: only the app knows. */
  count(sockets: readonly Socket[]): Counted[] {
    return sockets.map((socket) => ({ socket, state: hasBytesWaiting(socket) ? 'busy' : 'idle' }));
  }
}

/** A connection on its way out: fenced, then saved, then offered. */
interface Leaving {
  readonly fence: Fence;
  readonly watch: Watch;
  /** The app has given its state. */
  isSaved: boolean;
  /** The saved state; set once everything that the app wrote has been sent. */
  state: Uint8Array | undefined;
  isOffered: boolean;
}

/** The callback of one handover for connections that can migrate. */
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
  /** Adopted sockets that the app has not got yet. */
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
      // A copy, because a view would keep the whole frame in memory.
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

  /** The migration begins: asks the app for the state of each connection. */
  whenMovable(callback: () => void): () => void {
    const watch = { callback, isAnnouncing: false };
    this.#watch = watch;
    for (const socket of this.#connections.accepted) this.#saves.add(socket);
    return () => {
      if (this.#watch === watch) this.keepAll();
    };
  }

  /** Keeps the connections that have not been offered. */
  keepAll(): void {
    this.#watch = undefined;
    this.#saves.clear();
    for (const [socket, leaving] of this.#leaving) if (!leaving.isOffered) this.#keep(socket, leaving);
  }

  /** Lifts the fence, because the connection stays here, and tells the app if it has saved. */
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
    // The handover failed meanwhile, and the connection has read on since.
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

  /** Calls `done` when everything that the app wrote is sent. If one direction has ended, the connection stays. */
  #whenFlushed(socket: Socket, leaving: Leaving, done: () => void): void {
    if (this.#leaving.get(socket) !== leaving) return;
    if (!isOpenBothWays(socket)) this.#keep(socket, leaving);
    else if (socket.writableLength === 0) done();
    // Node has no event for the last byte sent; the callback of an empty write comes after it.
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
      // The app is asked only once, and until the successor has room no process would read the connection: it stays for
      // good.
      stay: () => this.#keep(socket, leaving),
      resume: ({ forGood }) => {
        leaving.isOffered = false;
        // The connection may be offered again with the same state, because the app is asked only once.
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

  /** Makes the socket and counts it; the app gets it in a later slice. */
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
      // The next handover may have begun; a connection is saved only after the app has got it.
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
