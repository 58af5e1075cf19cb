// Migrated HTTP/1 connections enter their server here: as new ones do or, where code of the app comes before Node's HTTP,
// by the state that the app saves of each and restores.
import type { Server, Socket } from 'node:net';
import { toError } from '../../errors.js';
import { publish } from '../../events.js';
import { enterHttp, entersHttpFirst } from '../../sockets/http-server.js';
import type { Migration } from '../migration.js';
import { decodeState, encodeState } from '../state.js';

const NOTHING = new Uint8Array(0);

export class Entrance {
  /**
   * Name on the wire. The two differ so that a server with `restore` gets only connections with saved state, and vice
   * versa.
   */
  readonly protocol: 'http1' | 'http1-saved';
  readonly #server: Server;
  readonly #migration: Migration | undefined;
  /** States of migrated connections that are not restored yet: one may migrate again before a byte comes. */
  readonly #saved = new WeakMap<Socket, Uint8Array>();

  constructor(server: Server, migration: Migration | undefined) {
    this.#server = server;
    this.#migration = migration;
    this.protocol = migration ? 'http1-saved' : 'http1';
  }

  /** Whether a migrated connection can enter. Read anew each time, because the app may add listeners at any time. */
  get isOpen(): boolean {
    return this.#migration !== undefined || entersHttpFirst(this.#server);
  }

  /** The state that the successor needs; undefined: the connection stays. */
  save(socket: Socket): Uint8Array | undefined {
    if (!this.#migration) return NOTHING;
    const moved = this.#saved.get(socket);
    if (moved) return moved;
    try {
      const state = this.#migration.save(socket);
      return state === undefined ? undefined : encodeState('the state of a connection, given at once,', state);
    } catch (error) {
      failed('save', error);
      return undefined;
    }
  }

  /** Tells the app that a saved connection stays. */
  stay(socket: Socket): void {
    if (this.#saved.has(socket)) return;
    void this.#run('stay', () => this.#migration?.stay?.(socket));
  }

  /** Keeps the state of a migrated connection until its first byte comes. */
  await(socket: Socket, saved: Uint8Array): void {
    if (this.#migration) this.#saved.set(socket, saved);
  }

  /** Lets a migrated connection enter when its first byte has come. */
  async enter(socket: Socket): Promise<void> {
    const saved = this.#saved.get(socket);
    if (!this.#migration || !saved) {
      this.#server.emit('connection', socket);
      socket.resume();
      return;
    }
    this.#saved.delete(socket);
    const { restore } = this.#migration;
    const isRestored = await this.#run('restore', () => restore(socket, decodeState(saved)));
    if (socket.destroyed) return;
    if (isRestored && enterHttp(this.#server, socket)) socket.resume();
    else socket.destroy();
  }

  /** False: the call failed, and the failure is published. */
  async #run(hook: keyof Migration, call: () => unknown): Promise<boolean> {
    try {
      await call();
      return true;
    } catch (error) {
      failed(hook, error);
      return false;
    }
  }
}

function failed(hook: keyof Migration, thrown: unknown): void {
  const error = toError(thrown);
  publish('hook-failed', { name: `migrate.${hook}`, error });
}
