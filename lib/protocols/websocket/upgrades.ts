// The upgraded connections of one server. Notices each when the app gets it, and ends those politely that cannot migrate.
import type { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { UpgradeRequest } from '../../sockets/upgrade-request.js';
import { type Attachment, Upgraded, type UpgradedHost, upgradedOf } from './upgraded.js';

/** A close frame of the server with code 1012, "service restart" (IANA WebSocket Close Code registry). */
const CLOSE_1012 = Uint8Array.of(0x88, 2, 0x03, 0xf4);
/** Share of the drain's time after which connections that could migrate and have not are ended, too. */
const LAST_CALL = 0.75;
/** Milliseconds for the app to close the connection after the closing handshake. */
const CLOSE_GRACE = 1_000;

export interface EndOptions {
  /** Milliseconds over which connections are closed: clients that are closed together would reconnect together. */
  readonly spread: number;
  /** Milliseconds until the drain's deadline. */
  readonly timeout: number;
  /** Whether connections migrate: those that can are not ended. */
  readonly moves: boolean;
}

export class Upgrades implements UpgradedHost {
  readonly connections: Set<Upgraded> = new Set();
  attachment: Attachment | undefined;
  /** Whether requests are kept, because connections may migrate. */
  keepsRequests = false;
  /** Called for every connection whose state may have changed; undefined while no handover migrates. */
  watcher: ((upgraded: Upgraded) => void) | undefined;
  readonly #server: Server;
  #ending: EndOptions | undefined;
  #lastCall: NodeJS.Timeout | undefined;
  readonly #timers = new Map<Upgraded, NodeJS.Timeout>();
  /** Connections to close now, as soon as no message is half written. */
  readonly #due = new Set<Upgraded>();

  constructor(server: Server) {
    this.#server = server;
    const forget = (socket: object): void => {
      const upgraded = upgradedOf(socket);
      if (upgraded) this.#forget(upgraded);
    };
    this.#onClose = function (this: object): void {
      forget(this);
    } as () => void;
    server.on('newListener', (event, listener) => {
      if (event === 'upgrade' && listener !== this.#onUpgrade) this.#listen();
    });
    server.on('removeListener', (event) => {
      if (event === 'upgrade' && !this.hasApp) server.off('upgrade', this.#onUpgrade);
    });
    if (this.hasApp) this.#listen();
  }

  /** Whether the app listens to upgrades. This package's listener alone would change what Node does with such requests. */
  get hasApp(): boolean {
    return this.#server.listeners('upgrade').some((listener) => listener !== this.#onUpgrade);
  }

  /** Adds a connection that has migrated here. */
  adopt(socket: Socket, request: UpgradeRequest, isWebSocket: boolean): Upgraded {
    return this.#add(new Upgraded(socket, { isWebSocket, request }, this));
  }

  /** From now on ends connections that cannot migrate, or without `moves` all. */
  endAll(options: EndOptions): void {
    clearTimeout(this.#lastCall);
    this.#ending = options;
    const { moves, timeout } = options;
    if (moves) this.#lastCall = setTimeout(() => this.#stayWithin(timeout / 8), timeout * LAST_CALL).unref();
    for (const upgraded of this.connections) this.#endIfDue(upgraded);
  }

  /** Also ends the connections that were left to migrate. */
  stay(): void {
    this.#stayWithin(Number.POSITIVE_INFINITY);
  }

  /** Ends this connection, which stays. */
  end(upgraded: Upgraded): void {
    upgraded.stays = true;
    this.#schedule(upgraded, this.#ending?.spread ?? 0);
  }

  /** Ends no further connections. */
  stop(): void {
    this.#ending = undefined;
    clearTimeout(this.#lastCall);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#due.clear();
    for (const upgraded of this.connections) upgraded.stays = false;
  }

  #stayWithin(longest: number): void {
    if (!this.#ending) return;
    this.endAll({ ...this.#ending, spread: Math.min(this.#ending.spread, longest), moves: false });
  }

  #listen(): void {
    if (!this.#server.listeners('upgrade').includes(this.#onUpgrade)) {
      this.#server.prependListener('upgrade', this.#onUpgrade);
    }
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Socket, head: Uint8Array): void => {
    // A connection that has migrated here is known already.
    if (upgradedOf(socket)) return;
    const isWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket';
    if (!isWebSocket && !this.keepsRequests) return;
    const { method = '', url = '', httpVersion, rawHeaders } = request;
    const kept = this.keepsRequests ? { method, url, httpVersion, rawHeaders } : undefined;
    const upgraded = this.#add(new Upgraded(socket, { isWebSocket, request: kept }, this));
    upgraded.read(head);
  };

  #add(upgraded: Upgraded): Upgraded {
    this.connections.add(upgraded);
    upgraded.socket.on('close', this.#onClose);
    // Noted, so that these listeners are not taken for the app's.
    if (this.keepsRequests) upgraded.closeListeners = upgraded.socket.rawListeners('close');
    return upgraded;
  }

  /** One function for all of them, for memory. */
  readonly #onClose: () => void;

  #forget(upgraded: Upgraded): void {
    this.connections.delete(upgraded);
    this.#due.delete(upgraded);
    clearTimeout(this.#timers.get(upgraded));
    this.#timers.delete(upgraded);
  }

  onActivity(upgraded: Upgraded): void {
    if (this.#due.has(upgraded)) setImmediate(() => this.#close(upgraded));
    // A new connection: whether it can migrate is known when the app has answered and taken it.
    else if (this.#ending && !this.#timers.has(upgraded)) setImmediate(() => this.#endIfDue(upgraded));
    this.watcher?.(upgraded);
  }

  #endIfDue(upgraded: Upgraded): void {
    if (!this.#ending || (this.#ending.moves && upgraded.canEverMove)) return;
    this.#schedule(upgraded, this.#ending.spread);
  }

  #schedule(upgraded: Upgraded, spread: number): void {
    if (!upgraded.isWebSocket || !upgraded.response || this.#timers.has(upgraded)) return;
    const timer = setTimeout(() => {
      this.#due.add(upgraded);
      this.#close(upgraded);
    }, Math.random() * spread);
    this.#timers.set(upgraded, timer);
  }

  #close(upgraded: Upgraded): void {
    const { socket, inbound, outbound } = upgraded;
    if (!this.#due.has(upgraded)) return;
    if (outbound.hasClosed) {
      // This package or the app has sent the close frame. When the client has sent its own, the app should close the
      // connection.
      if (inbound.hasClosed) this.#closeAfterGrace(upgraded);
    } else if (outbound.isBetweenMessages && socket.writable) socket.write(CLOSE_1012);
  }

  #closeAfterGrace(upgraded: Upgraded): void {
    this.#due.delete(upgraded);
    const timer = setTimeout(() => upgraded.socket.destroy(), CLOSE_GRACE);
    this.#timers.set(upgraded, timer.unref());
  }
}
