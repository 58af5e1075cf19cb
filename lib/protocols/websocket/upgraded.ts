// One connection after an HTTP upgrade: its request, its response, and the position in the frames of both directions. Sees
// the bytes as they come from the kernel and as the app writes them.
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { UpgradeRequest } from '../../sockets/upgrade-request.js';
import { FrameTracker } from './frame-tracker.js';
import { isStateless, parseResponseHead, type ResponseHead } from './response-head.js';

/** The app's side of a connection that may migrate. */
export interface Attachment {
  /** Whether everything that came has reached the app, and everything that the app sent has reached the socket. */
  isQuiet(upgraded: Upgraded): boolean;
  /** Asks the app for its state; undefined: the connection stays. */
  save(upgraded: Upgraded): unknown;
  /** Tells the app that a saved connection stays. */
  stay(upgraded: Upgraded): unknown;
  restore(state: unknown, request: IncomingMessage, upgraded: Upgraded): unknown;
  /** Removes the app's listeners, so that the app hears no more of the connection. */
  silence(upgraded: Upgraded): void;
}

const upgradedOfSocket = new WeakMap<object, Upgraded>();

/** The upgraded connection on this socket; undefined if it is none. */
export function upgradedOf(socket: object): Upgraded | undefined {
  return upgradedOfSocket.get(socket);
}

type Callback = (error?: Error | null) => void;

/** The server of an upgraded connection. */
export interface UpgradedHost {
  /** The attachment of connections that no WebSocket library of the app has taken. */
  readonly attachment: Attachment | undefined;
  /** Called when the state of a connection may have changed. */
  onActivity(upgraded: Upgraded): void;
}

const NOTHING = Buffer.alloc(0);

export class Upgraded {
  readonly socket: Socket;
  /** The request as one string, for memory; no field holds a line end. Undefined if the connection can never migrate. */
  readonly #request: string | undefined;
  readonly isWebSocket: boolean;
  readonly inbound: FrameTracker = new FrameTracker();
  readonly outbound: FrameTracker = new FrameTracker();
  /** Undefined until the app has answered. */
  response: ResponseHead | undefined;
  /** Listeners of 'close' that are not the app's: of Node, this package, and the app's WebSocket library. */
  closeListeners: readonly unknown[] = [];
  /** Whether the successor refused it, or the app keeps it here. */
  stays = false;
  /** Whether it has migrated here and the app has not restored it yet: until then it cannot migrate again. */
  isArriving = false;
  #hasPing = false;
  #isFlushing = false;
  /** The beginning of a response whose head is not whole yet. */
  #beginning: Buffer | undefined;
  readonly #host: UpgradedHost;
  #attachment: Attachment | undefined;

  constructor(
    socket: Socket,
    { isWebSocket, request }: { readonly isWebSocket: boolean; readonly request: UpgradeRequest | undefined },
    host: UpgradedHost,
  ) {
    this.socket = socket;
    this.#request = request && [request.method, request.url, request.httpVersion, ...request.rawHeaders].join('\n');
    this.isWebSocket = isWebSocket;
    this.#host = host;
    upgradedOfSocket.set(socket, this);
    this.#tap();
  }

  get request(): UpgradeRequest | undefined {
    const [method = '', url = '', httpVersion = '', ...rawHeaders] = this.#request?.split('\n') ?? [];
    return this.#request === undefined ? undefined : { method, url, httpVersion, rawHeaders };
  }

  get attachment(): Attachment | undefined {
    return this.#attachment ?? this.#host.attachment;
  }

  set attachment(attachment: Attachment) {
    this.#attachment = attachment;
  }

  /** Whether another process can continue with the negotiated response, and the app agrees. */
  get canEverMove(): boolean {
    return (
      !this.stays &&
      this.#request !== undefined &&
      this.attachment !== undefined &&
      this.response?.status === 101 &&
      isStateless(this.response)
    );
  }

  /** Whether no message is half read or half written, and no ping waits for its pong. */
  get isAtBoundary(): boolean {
    const { socket, outbound } = this;
    if (!this.isReadToBoundary || socket.writableLength > 0) return false;
    return !this.isWebSocket || (!this.#hasPing && outbound.isBetweenMessages);
  }

  /** Whether no message of the client is half read, and neither side has begun to close. */
  get isReadToBoundary(): boolean {
    const { socket, inbound, outbound } = this;
    if (this.isArriving || socket.destroyed || socket.writableEnded || socket.readableEnded) return false;
    if (socket.readableLength > 0) return false;
    return !this.isWebSocket || (inbound.isBetweenMessages && !inbound.hasClosed && !outbound.hasClosed);
  }

  /** Tracks bytes of the client: those that came with the request, and each chunk read. */
  read(bytes: Uint8Array): void {
    if (!this.isWebSocket) return;
    const { pings } = this.inbound;
    this.inbound.feed(bytes);
    if (this.inbound.pings > pings) this.#hasPing = true;
  }

  /** Tells the server that the state may have changed. */
  stir(): void {
    this.#host.onActivity(this);
  }

  /** Stirs when the kernel has everything that is written so far. */
  stirWhenFlushed(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    // Node has no event for the last byte sent; the callback of an empty write comes after it. The prototype's `write`
    // bypasses a fence that holds the app's writes.
    Socket.prototype.write.call(this.socket, NOTHING, undefined, () => {
      this.#isFlushing = false;
      this.stir();
    });
  }

  #written(bytes: Uint8Array): void {
    if (this.response) {
      if (!this.isWebSocket) return;
      const { pongs } = this.outbound;
      this.outbound.feed(bytes);
      if (this.outbound.pongs > pongs) this.#hasPing = false;
      return;
    }
    const all = this.#beginning ? Buffer.concat([this.#beginning, bytes]) : Buffer.from(bytes);
    this.#beginning = all;
    try {
      const found = parseResponseHead(all);
      if (!found) return;
      this.#beginning = undefined;
      this.response = found.head;
      this.#written(all.subarray(found.length));
    } catch {
      this.stays = true;
      this.outbound.isBroken = true;
      this.response = { status: 0, upgrade: '', extensions: '', subprotocol: '' };
    }
  }

  /** Puts own methods on this socket, in front of those it has: `push` gets the kernel's bytes, `write` the app's. */
  #tap(): void {
    const { socket } = this;
    const { push, write } = socket;
    socket.push = (chunk: Uint8Array | null, encoding?: BufferEncoding): boolean => {
      if (chunk !== null) this.read(chunk);
      const result = push.call(socket, chunk, encoding);
      this.stir();
      return result;
    };
    socket.write = (chunk: Uint8Array | string, encoding?: BufferEncoding | Callback, callback?: Callback): boolean => {
      if (chunk?.length > 0) {
        const given = typeof encoding === 'string' ? encoding : undefined;
        this.#written(typeof chunk === 'string' ? Buffer.from(chunk, given) : chunk);
      }
      const result = write.call(socket, chunk, encoding as BufferEncoding, callback);
      if (chunk?.length > 0) this.stir();
      return result;
    };
  }
}
