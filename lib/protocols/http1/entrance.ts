// How HTTP/1 connections that have moved enter their server: as new ones do, or, where code of the app comes before Node's
// HTTP, by what the app saves of each and restores.
import type { Server, Socket } from 'node:net';
import { toError } from '../../errors.js';
import { publish } from '../../events.js';
import { enterHttp, entersHttpFirst } from '../../sockets/http-server.js';
import type { Migration } from '../migration.js';
import { decodeState, encodeState } from '../state.js';

const NOTHING = new Uint8Array(0);

export class Entrance {
  /** Its name on the wire: whoever restores nothing must not take what is to be restored, nor the other way round. */
  readonly protocol: 'http1' | 'http1-saved';
  readonly #server: Server;
  readonly #migration: Migration | undefined;
  /** Moved here, and not restored yet: it may move on before a byte comes. */
  readonly #saved = new WeakMap<Socket, Uint8Array>();

  constructor(server: Server, migration: Migration | undefined) {
    this.#server = server;
    this.#migration = migration;
    this.protocol = migration ? 'http1-saved' : 'http1';
  }

  /** Whether a connection can come in a second time. Asked anew each time: the app adds its listeners when it likes. */
  get isOpen(): boolean {
    return this.#migration !== undefined || entersHttpFirst(this.#server);
  }

  /** What the successor needs of a connection; undefined: it stays. */
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

  /** A connection that was saved stays after all. */
  stay(socket: Socket): void {
    if (this.#saved.has(socket)) return;
    void this.#run('stay', () => this.#migration?.stay?.(socket));
  }

  /** It waits for its first byte. */
  await(socket: Socket, saved: Uint8Array): void {
    if (this.#migration) this.#saved.set(socket, saved);
  }

  /** Its first byte has come. */
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

  /** False: it has failed, and that is published. */
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
