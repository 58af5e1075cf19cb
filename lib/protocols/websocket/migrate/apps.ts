// The app's functions for its upgraded connections, and the WebSockets of the package `ws`, of which only public methods
// and events are used.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Attachment, type Upgraded, upgradedOf } from '../upgraded.js';

interface Emitter {
  // biome-ignore lint/complexity/noBannedTypes: as Node's EventEmitter declares it
  rawListeners(name: string): Function[];
  removeListener(name: string, listener: (...args: unknown[]) => void): unknown;
}

/** The members of a WebSocket of `ws` that are used. */
export interface WebSocketLike extends Emitter {
  readonly readyState: number;
  readonly bufferedAmount: number;
  on(name: string, listener: (...args: unknown[]) => void): unknown;
}

/** The members of a WebSocketServer of `ws` that are used. */
export interface WebSocketServerLike<W> {
  handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    callback: (ws: W, request: IncomingMessage) => void,
  ): void;
}

/** The functions of the app. */
export interface Movers<C> {
  save(connection: C): unknown;
  restore(connection: C, state: unknown, request: IncomingMessage): unknown;
  stay?(connection: C): unknown;
}

const OPEN = 1;

/** Attaches to every WebSocket that a server of `ws` makes from now on by `handleUpgrade`. */
export function attachTo<W extends WebSocketLike>(wss: WebSocketServerLike<W>, movers: Movers<W>): void {
  const { handleUpgrade } = wss;
  wss.handleUpgrade = function (request, socket, head, callback): void {
    handleUpgrade.call(this, request, socket, head, (ws, ...rest) => {
      const upgraded = upgradedOf(socket);
      if (upgraded) upgraded.attachment = new WsAttachment(ws, upgraded, movers);
      callback(ws, ...rest);
    });
  };
}

class WsAttachment<W extends WebSocketLike> implements Attachment {
  readonly #ws: W;
  readonly #movers: Movers<W>;
  /** Listeners of 'close' that are not the app's: `ws` itself, which then removes the WebSocket from its clients. */
  readonly #closeListeners: readonly unknown[];
  /** Number of messages that the app has got. */
  #messages = 0;

  /** Call it before the app gets the WebSocket. */
  constructor(ws: W, upgraded: Upgraded, movers: Movers<W>) {
    this.#ws = ws;
    this.#movers = movers;
    this.#closeListeners = ws.rawListeners('close');
    upgraded.closeListeners = upgraded.socket.rawListeners('close');
    ws.on('message', () => {
      this.#messages += 1;
      upgraded.stir();
    });
  }

  isQuiet({ inbound }: Upgraded): boolean {
    const { readyState, bufferedAmount } = this.#ws;
    return readyState === OPEN && bufferedAmount === 0 && this.#messages === inbound.messages;
  }

  save(): unknown {
    return this.#movers.save(this.#ws);
  }

  stay(): unknown {
    return this.#movers.stay?.(this.#ws);
  }

  restore(state: unknown, request: IncomingMessage): unknown {
    return this.#movers.restore(this.#ws, state, request);
  }

  silence(upgraded: Upgraded): void {
    removeOthers(this.#ws, 'close', this.#closeListeners);
    this.#ws.on('error', () => {});
    silenceSocket(upgraded);
  }
}

/** For an app that handles 'upgrade' itself, and knows its connections by their sockets. */
export class SocketAttachment implements Attachment {
  readonly #movers: Movers<Upgraded['socket']>;

  constructor(movers: Movers<Upgraded['socket']>) {
    this.#movers = movers;
  }

  isQuiet(): boolean {
    return true;
  }

  save({ socket }: Upgraded): unknown {
    return this.#movers.save(socket);
  }

  stay({ socket }: Upgraded): unknown {
    return this.#movers.stay?.(socket);
  }

  restore(state: unknown, request: IncomingMessage, { socket }: Upgraded): unknown {
    return this.#movers.restore(socket, state, request);
  }

  silence(upgraded: Upgraded): void {
    silenceSocket(upgraded);
  }
}

function silenceSocket({ socket, closeListeners }: Upgraded): void {
  removeOthers(socket, 'close', closeListeners);
  socket.on('error', () => {});
}

function removeOthers(emitter: Emitter, name: string, kept: readonly unknown[]): void {
  for (const listener of emitter.rawListeners(name)) {
    if (!kept.includes(listener)) emitter.removeListener(name, listener as (...args: unknown[]) => void);
  }
}
