// A net, http, https or http2 server under the handover: accepts, stops and starts again without the app hearing of it,
// and drains.
import type { Http2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { Adopter } from './holding.js';
import { closeAfterResponses } from './http-drain.js';
import { Http1Connections, speaksHttp1 } from './http1.js';
import type { Managed, Where } from './managed.js';
import { outsideCluster, stopAccepting } from './node-internals.js';
import type { Movable } from './offering.js';
import { type Withheld, withhold } from './withhold.js';

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
  readonly #sessions = new Set<Http2Session>();
  readonly #onClose: () => void;
  readonly #http1: Http1Connections | undefined;
  #withheld: Withheld | undefined;
  #closedByApp = false;
  #stopDraining: (() => void) | undefined;
  #isMoving = false;
  #whenEmpty: (() => void) | undefined;

  /** `onClose` is told when the app closes the server by itself. */
  constructor(server: Server, name: string, backlog: number, onClose: () => void) {
    this.#server = server;
    this.#backlog = backlog;
    this.#onClose = onClose;
    this.#http1 = speaksHttp1(server)
      ? new Http1Connections(server, name, this.#sockets, () => this.#checkEmpty())
      : undefined;
    this.#interceptClose();
    server.on('connection', (socket: Socket) => this.#track(socket));
    server.on('secureConnection', (socket: Socket) => {
      this.#secure.add(socket);
      socket.once('close', () => this.#secure.delete(socket));
    });
    server.on('session', (session: Http2Session) => this.#trackSession(session));
  }

  get connectionCount(): number {
    return this.#sockets.size + (this.#http1?.parkedCount ?? 0);
  }

  get adopter(): Adopter | undefined {
    return this.#http1;
  }

  movable(): Iterable<Movable> {
    return this.#http1?.movable() ?? [];
  }

  whenMovable(callback: () => void): () => void {
    return this.#http1?.whenMovable(callback) ?? (() => {});
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

  async resume(where: () => Where): Promise<void> {
    this.#stopDraining?.();
    this.#stopDraining = undefined;
    if (this.#closedByApp) {
      this.#onClose();
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

  drain({ moves }: { readonly moves: boolean }): Promise<void> {
    if (!this.#stopDraining) {
      this.#isMoving = moves && this.#http1 !== undefined;
      this.#stopDraining = this.#isMoving ? () => {} : closeAfterResponses(this.#server);
      for (const session of this.#sessions) session.close();
    }
    return new Promise((resolve) => {
      this.#whenEmpty = resolve;
      this.#checkEmpty();
    });
  }

  stay(): void {
    if (!this.#stopDraining || !this.#isMoving) return;
    this.#isMoving = false;
    this.#stopDraining = closeAfterResponses(this.#server);
  }

  cut(): number {
    const count = this.connectionCount;
    this.#http1?.cut();
    for (const socket of [...this.#secure, ...this.#sockets]) socket.destroy();
    return count;
  }

  finish(): void {
    this.#stopDraining?.();
    this.#withheld?.release({ deliver: true });
    this.#withheld = undefined;
  }

  /** The app's own `server.close()`: drain now, and hand the address over no more. */
  #interceptClose(): void {
    const server = this.#server;
    const close = server.close;
    server.close = (callback?: (error?: Error) => void) => {
      if (!this.#withheld) {
        this.#onClose();
        return close.call(server, callback);
      }
      this.#closedByApp = true;
      server.closeIdleConnections?.();
      if (callback) this.#withheld.whenClosed(callback);
      return server;
    };
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#checkEmpty();
    });
  }

  #trackSession(session: Http2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    // Accepted by us and new to HTTP/2 while we drain: it gets its answer, then GOAWAY.
    if (this.#stopDraining) session.once('stream', () => session.close());
  }

  #checkEmpty(): void {
    if (this.connectionCount === 0) this.#whenEmpty?.();
  }
}
