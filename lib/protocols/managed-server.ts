// A net, http, https or http2 server under the handover: accepts, stops and starts again without the app hearing of it,
// and drains.
import type { Server, Socket } from 'node:net';
import type { CutConnections } from '../events.js';
import { outsideCluster, stopAccepting } from '../sockets/listening.js';
import { encryptedSide } from '../sockets/stream-handle.js';
import { type Withheld, withhold } from '../sockets/withhold.js';
import { ConnectionSurvey } from './connection-survey.js';
import { ForceClose } from './force-close.js';
import { DEFAULT_DRAIN_TIMEOUT, HttpDrain } from './http-drain.js';
import { Http1Connections, speaksHttp1 } from './http1.js';
import { Http2Drain } from './http2-drain.js';
import type { LiveProtocol, Movable } from './live-protocol.js';
import type { DrainOptions, Managed, Where } from './managed.js';
import { whenProtocolAdded } from './protocols.js';
import { type Migration, RawConnections } from './raw.js';
import { Upgrades } from './upgrades.js';

interface MaybeHttpServer extends Server {
  closeIdleConnections?: () => void;
}

export class ManagedServer implements Managed {
  readonly #server: MaybeHttpServer;
  readonly #backlog: number;
  /** As accepted; with TLS the encrypted side. */
  readonly #sockets = new Set<Socket>();
  /** The decrypted side of those with TLS: what HTTP speaks on. */
  readonly #secure = new Set<Socket>();
  readonly #acceptedAt = new WeakMap<Socket, number>();
  readonly #onClose: () => void;
  readonly #httpDrain: HttpDrain;
  readonly #http2Drain: Http2Drain;
  readonly #forceClose: ForceClose;
  readonly #protocols: LiveProtocol[] = [];
  readonly #upgrades: Upgrades;
  #http1: Http1Connections | undefined;
  #withheld: Withheld | undefined;
  #finished: Withheld | undefined;
  #closedByApp = false;
  #isHeldBack = false;
  #hasToldClosed = false;
  #isDraining = false;
  #isMoving = false;
  #whenEmpty: (() => void) | undefined;

  /**
   * `onClose` is told when the app closes the server by itself; `migration`: how connections move of which
   * the app knows something.
   */
  constructor(server: Server, name: string, backlog: number, onClose: () => void, migration?: Migration) {
    this.#server = server;
    this.#backlog = backlog;
    this.#onClose = onClose;
    this.#httpDrain = new HttpDrain(server, () => this.#speaking());
    this.#http2Drain = new Http2Drain(server);
    const survey = new ConnectionSurvey(server, this.#sockets, this.#secure);
    this.#forceClose = new ForceClose(
      name,
      survey,
      (socket) => performance.now() - (this.#acceptedAt.get(socket) ?? 0),
    );
    this.#upgrades = new Upgrades(server);
    this.#interceptClose();
    server.on('connection', (socket: Socket) => this.#track(socket));
    if (speaksHttp1(server)) this.#addHttp1(name, migration);
    else if (migration) this.#addRaw(name, migration);
    server.on('secureConnection', (socket: Socket) => {
      const encrypted = encryptedSide(socket);
      if (this.#hasToldClosed && !(encrypted && this.#sockets.has(encrypted))) return;
      this.#secure.add(socket);
      this.#acceptedAt.set(socket, performance.now());
      socket.once('close', () => this.#secure.delete(socket));
    });
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  get wasCut(): readonly CutConnections[] {
    return this.#forceClose.groups;
  }

  readonly adopter = (name: string): LiveProtocol | undefined =>
    this.#protocols.find(({ protocol }) => protocol === name);

  *movable(): Generator<Movable> {
    for (const protocol of this.#protocols) yield* protocol.movable();
  }

  whenMovable(callback: () => void): () => void {
    const stops = this.#protocols.map((protocol) => protocol.whenMovable(callback));
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
    // It may have been closed while it began to listen.
    if (this.#closedByApp) this.#server.close();
  }

  drain({ moves, timeout = DEFAULT_DRAIN_TIMEOUT, idleTimeout = 0, closeSpread = 0 }: DrainOptions): Promise<void> {
    this.#isDraining = true;
    this.#httpDrain.begin(timeout);
    this.#isMoving = moves && this.#protocols.some(({ canMove }) => canMove);
    if (!moves || !this.#http1?.canMove) this.#httpDrain.endAll();
    this.#http2Drain.begin();
    this.#forceClose.start(idleTimeout);
    this.#upgrades.endAll({ moves, spread: closeSpread, timeout });
    return new Promise((resolve) => {
      this.#whenEmpty = resolve;
      this.#checkEmpty();
    });
  }

  stay(): void {
    if (!this.#isDraining) return;
    for (const protocol of this.#protocols) protocol.stay();
    this.#upgrades.stay();
  }

  cut(): number {
    const count = this.#forceClose.cutAll();
    // And those that only lingered.
    for (const socket of [...this.#secure, ...this.#sockets]) socket.destroy();
    return count;
  }

  finish(): void {
    this.endDrain();
    this.#withheld?.release({ deliver: true });
    this.#finished = this.#withheld;
    this.#withheld = undefined;
  }

  /** Node's parser does not know those that are parked, and `close()` ends idle ones by this method. */
  #addHttp1(name: string, migration: Migration | undefined): void {
    const server = this.#server;
    const track = (socket: Socket): void => this.#track(socket);
    const http1 = new Http1Connections(server, name, this.#sockets, track, this.#httpDrain, migration);
    this.#http1 = http1;
    this.#protocols.push(http1);
    const site = { server, name, upgrades: this.#upgrades, track };
    whenProtocolAdded(server, (factory) => this.#protocols.push(factory(site)));
    const { closeIdleConnections } = server;
    server.closeIdleConnections = () => {
      closeIdleConnections?.call(server);
      http1.closeParked();
    };
  }

  #addRaw(name: string, migration: Migration): void {
    const tracking = {
      sockets: this.#sockets,
      track: (socket: Socket) => this.#track(socket),
      untrack: (socket: Socket) => this.#untrack(socket),
    };
    this.#protocols.push(new RawConnections(this.#server, name, migration, tracking));
  }

  /** The app's own `server.close()`: drain now, and hand the address over no more. */
  #interceptClose(): void {
    const server = this.#server;
    const close = server.close;
    server.close = (callback?: (error?: Error) => void) => {
      // For the app it listened until now.
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
      // Those that move to the successor are not to be ended: apps close their servers when they are superseded.
      if (this.#isDraining && !this.#isMoving) server.closeIdleConnections?.();
      if (callback) this.#withheld.whenClosed(callback);
      return server;
    };
  }

  /** It only tried the place, or so it seems: all is as if it had listened, and the address is given back. */
  #closeHeldBack(callback?: (error?: Error) => void): Server {
    const { hasClosed = false } = this.#withheld ?? {};
    this.#isHeldBack = false;
    this.#withheld?.release({ deliver: false });
    this.#withheld = undefined;
    this.#tellClosed();
    if (callback) this.#server.once('close', callback);
    // Node says it itself where it has not yet.
    if (hasClosed) process.nextTick(() => this.#server.emit('close'));
    return this.#server;
  }

  /** Once: by then the name may be another server's. */
  #tellClosed(): void {
    if (!this.#hasToldClosed) this.#onClose();
    this.#hasToldClosed = true;
  }

  /** Also one that was moved here, once: it may come again as a 'connection'. A server that listens anew is managed anew. */
  #track(socket: Socket): void {
    if (this.#hasToldClosed || this.#sockets.has(socket)) return;
    this.#sockets.add(socket);
    this.#acceptedAt.set(socket, performance.now());
    socket.once('close', () => this.#untrack(socket));
  }

  #untrack(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#checkEmpty();
  }

  /** What HTTP/1 is, or will be, spoken on. */
  #speaking(): Iterable<Socket> {
    if (!('setSecureContext' in this.#server)) return this.#sockets;
    const isHttp1 = (socket: Socket): boolean => (socket as { alpnProtocol?: unknown }).alpnProtocol !== 'h2';
    const isFresh = ({ bytesRead }: Socket): boolean => bytesRead === 0;
    return [...[...this.#secure].filter(isHttp1), ...[...this.#sockets].filter(isFresh)];
  }

  endDrain(): void {
    this.#isDraining = false;
    this.#httpDrain.stop();
    this.#http2Drain.stop();
    this.#forceClose.stop();
    this.#upgrades.stop();
  }

  #checkEmpty(): void {
    if (this.connectionCount === 0) this.#whenEmpty?.();
  }
}
