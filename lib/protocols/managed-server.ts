// A net, http, https or http2 server under the handover: stops and starts accepting without an event for the app, and
// drains.
import type { Server, Socket } from 'node:net';
import type { CutConnections } from '../events.js';
import { outsideCluster, stopAccepting } from '../sockets/listening.js';
import { type Withheld, withhold } from '../sockets/withhold.js';
import { ConnectionSurvey } from './connection-survey.js';
import { Connections } from './connections.js';
import { ForceClose } from './force-close.js';
import type { Managed, Where } from './managed.js';
import type { Migration } from './migration.js';
import type { DrainOptions, Migrator, Movable, Protocol, ProtocolAt } from './protocol.js';
import { PROTOCOLS } from './registry.js';

/** Default milliseconds until the drain's deadline. */
const DEFAULT_DRAIN_TIMEOUT = 30_000;

export class ManagedServer implements Managed {
  readonly #server: Server;
  readonly #backlog: number;
  readonly #connections = new Connections(() => this.#whenEmpty?.());
  readonly #onClose: () => void;
  readonly #forceClose: ForceClose;
  readonly #protocols: readonly Protocol[];
  #withheld: Withheld | undefined;
  #finished: Withheld | undefined;
  #closedByApp = false;
  #isHeldBack = false;
  #hasToldClosed = false;
  #isDraining = false;
  #isMoving = false;
  #whenEmpty: (() => void) | undefined;

  /** `onClose` is called when the app closes the server; `migration`: the app's own functions to migrate connections. */
  constructor(
    server: Server,
    name: string,
    backlog: number,
    onClose: () => void,
    migration?: Migration,
    protocols: readonly ProtocolAt[] = PROTOCOLS,
  ) {
    this.#server = server;
    this.#backlog = backlog;
    this.#onClose = onClose;
    this.#interceptClose();
    const connections = this.#connections;
    server.on('connection', (socket: Socket) => connections.add(socket));
    const site = { server, name, connections, migration };
    this.#protocols = protocols.map((at) => at(site)).filter((protocol) => protocol !== undefined);
    this.#forceClose = new ForceClose(name, new ConnectionSurvey(connections, this.#protocols), (socket) =>
      connections.ageOf(socket),
    );
  }

  get connectionCount(): number {
    return this.#connections.accepted.size;
  }

  get wasCut(): readonly CutConnections[] {
    return this.#forceClose.groups;
  }

  /** The protocols that migrate. Read anew each time, because a migrator may be added later. */
  get #migrators(): Migrator[] {
    return this.#protocols.flatMap(({ migrate }) => migrate ?? []);
  }

  readonly adopter = (name: string): Migrator | undefined => this.#migrators.find(({ protocol }) => protocol === name);

  *movable(): Generator<Movable> {
    for (const migrator of this.#migrators) yield* migrator.movable();
  }

  whenMovable(callback: () => void): () => void {
    const stops = this.#migrators.map((migrator) => migrator.whenMovable(callback));
    return () => {
      for (const stop of stops) stop();
    };
  }

  async accept(where: Where): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onListening = (): void => {
        this.#server.off('error', onError);
        resolve();
      };
      const onError = (error: Error): void => {
        this.#server.off('listening', onListening);
        reject(error);
      };
      if (this.#withheld) this.#withheld.whenListening(onListening);
      else this.#server.once('listening', onListening);
      this.#server.once('error', onError);
      // Two arguments: the backlog of a single options object is ignored (FACTS N1).
      outsideCluster(() => this.#server.listen(where, this.#backlog));
    });
  }

  suspend(): void {
    this.#withheld = withhold(this.#server);
    stopAccepting(this.#server);
  }

  holdBack(): boolean {
    if (!this.#server.listening) return false;
    this.suspend();
    this.#isHeldBack = true;
    return true;
  }

  async resume(where: () => Where, { reopen }: { readonly reopen: boolean } = { reopen: false }): Promise<void> {
    this.#isHeldBack = false;
    this.endDrain();
    if (reopen) this.#closedByApp = false;
    if (this.#closedByApp) {
      this.#tellClosed();
      this.finish();
      return;
    }
    try {
      await this.accept(where());
    } finally {
      this.#withheld?.release({ deliver: false });
      this.#withheld = undefined;
    }
    // The app may have closed the server while it began to listen.
    if (this.#closedByApp) this.#server.close();
  }

  drain({ moves, timeout = DEFAULT_DRAIN_TIMEOUT, idleTimeout = 0, spread = 0 }: DrainOptions): Promise<void> {
    this.#isDraining = true;
    this.#isMoving = moves && this.#migrators.some(({ canMove }) => canMove);
    for (const { drain } of this.#protocols) drain.begin({ moves, timeout, idleTimeout, spread });
    this.#forceClose.start(idleTimeout);
    return new Promise((resolve) => {
      this.#whenEmpty = resolve;
      if (this.connectionCount === 0) resolve();
    });
  }

  stay(): void {
    if (!this.#isDraining) return;
    for (const { drain } of this.#protocols) drain.stay();
  }

  endDrain(): void {
    this.#isDraining = false;
    for (const { drain } of this.#protocols) drain.stop();
    this.#forceClose.stop();
  }

  cut(): number {
    const count = this.#forceClose.cutAll();
    // Also connections that only lingered.
    this.#connections.destroyAll();
    return count;
  }

  finish(): void {
    this.endDrain();
    this.#withheld?.release({ deliver: true });
    this.#finished = this.#withheld;
    this.#withheld = undefined;
  }

  /** Handles the app's own `server.close()`: the server drains now, and its address is not handed over any more. */
  #interceptClose(): void {
    const server = this.#server;
    const close = server.close;
    server.close = (callback?: (error?: Error) => void) => {
      // For the app, the server has listened until now.
      if (this.#finished && !this.#closedByApp && !server.listening) {
        this.#closedByApp = true;
        if (callback) this.#finished.whenClosed(callback);
        return server;
      }
      if (!this.#withheld) {
        this.#tellClosed();
        return close.call(server, callback);
      }
      if (this.#isHeldBack) return this.#closeHeldBack(callback);
      this.#closedByApp = true;
      // Connections that migrate must not end here: apps close their servers when they are superseded.
      if (this.#isDraining && !this.#isMoving) for (const { drain } of this.#protocols) drain.closeIdle?.();
      if (callback) this.#withheld.whenClosed(callback);
      return server;
    };
  }

  /** The app has probably only checked the address: frees it, with the events of a server that had listened. */
  #closeHeldBack(callback?: (error?: Error) => void): Server {
    const { hasClosed = false } = this.#withheld ?? {};
    this.#isHeldBack = false;
    this.#withheld?.release({ deliver: false });
    this.#withheld = undefined;
    this.#tellClosed();
    if (callback) this.#server.once('close', callback);
    // Node emits 'close' itself if it has not done so yet.
    if (hasClosed) process.nextTick(() => this.#server.emit('close'));
    return this.#server;
  }

  /** Calls `onClose` once only, because the name may be another server's afterwards. */
  #tellClosed(): void {
    if (!this.#hasToldClosed) this.#onClose();
    this.#hasToldClosed = true;
    this.#connections.close();
  }
}
