// One connection after an HTTP upgrade: what was asked, what was answered, and where in its frames either direction is.
// Its bytes are seen as they come from the kernel and as the app writes them.
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { UpgradeRequest } from '../../sockets/upgrade-request.js';
import { FrameTracker } from './frame-tracker.js';
import { isStateless, parseResponseHead, type ResponseHead } from './response-head.js';

/** What an app that lets the connection move has to do with it. */
export interface Attachment {
  /** Everything that came has reached the app, and everything it sent is with the socket. */
  isQuiet(upgraded: Upgraded): boolean;
  /** Undefined: it stays. */
  save(upgraded: Upgraded): unknown;
  /** It was saved and stays after all. */
  stay(upgraded: Upgraded): unknown;
  restore(state: unknown, request: IncomingMessage, upgraded: Upgraded): unknown;
  /** The app hears no more of it. */
  silence(upgraded: Upgraded): void;
}

const upgradedOfSocket = new WeakMap<object, Upgraded>();

/** The upgraded connection on this socket. */
export function upgradedOf(socket: object): Upgraded | undefined {
  return upgradedOfSocket.get(socket);
}

type Callback = (error?: Error | null) => void;

/** The server it belongs to. */
export interface UpgradedHost {
  /** Who has to do with those that no WebSocket library of the app has taken. */
  readonly attachment: Attachment | undefined;
  /** Something may be different from before. */
  onActivity(upgraded: Upgraded): void;
}

const NOTHING = Buffer.alloc(0);

export class Upgraded {
  readonly socket: Socket;
  /** One string, for memory: a field holds no line end. Undefined where it can never move. */
  readonly #request: string | undefined;
  readonly isWebSocket: boolean;
  readonly inbound: FrameTracker = new FrameTracker();
  readonly outbound: FrameTracker = new FrameTracker();
  /** Undefined until the app has answered. */
  response: ResponseHead | undefined;
  /** Who hears 'close' beside the app: Node, this library, the app's WebSocket library. */
  closeListeners: readonly unknown[] = [];
  /** It was refused, or its app wants it to end here. */
  stays = false;
  /** It was moved here, and the app has not got it back whole yet: until then it cannot move on. */
  isArriving = false;
  #hasPing = false;
  #isFlushing = false;
  /** The beginning of a response whose head is not whole. */
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

  /** The promise to the client can be kept by another process, and the app agrees. */
  get canEverMove(): boolean {
    return (
      !this.stays &&
      this.#request !== undefined &&
      this.attachment !== undefined &&
      this.response?.status === 101 &&
      isStateless(this.response)
    );
  }

  /** Nothing is half read, half written, or waiting for an answer the protocol demands. */
  get isAtBoundary(): boolean {
    const { socket, inbound, outbound } = this;
    if (this.isArriving) return false;
    if (socket.destroyed || socket.writableEnded || socket.readableEnded) return false;
    if (socket.readableLength > 0 || socket.writableLength > 0) return false;
    if (!this.isWebSocket) return true;
    if (inbound.hasClosed || outbound.hasClosed || this.#hasPing) return false;
    return inbound.isBetweenMessages && outbound.isBetweenMessages;
  }

  /** Bytes of the client: those that came with the request, and each chunk read. */
  read(bytes: Uint8Array): void {
    if (!this.isWebSocket) return;
    const { pings } = this.inbound;
    this.inbound.feed(bytes);
    if (this.inbound.pings > pings) this.#hasPing = true;
  }

  /** Something may be different from before. */
  stir(): void {
    this.#host.onActivity(this);
  }

  /** Stirs when all that is written so far is with the kernel. */
  stirWhenFlushed(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    // Past what holds the app's writes meanwhile: no event tells when the last byte is out, an empty write comes after it.
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

  /** Own methods of this one socket, over whatever own ones it has: `push` gets what the kernel gave, `write` what the app says. */
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
