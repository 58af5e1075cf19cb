// A fence around a connected socket: the process neither reads nor writes, and the app hears nothing of it, until the fence is
// lifted or the connection is another process'. Both processes hold the descriptor meanwhile (guarantee G4).
import { Socket } from 'node:net';
import { type Override, type Overrides, override } from './override.js';
import { streamHandle } from './stream-handle.js';

type Callback = (error?: Error | null) => void;

/** What was done to a fenced socket. */
export type Call =
  | { readonly name: 'write'; readonly bytes: Uint8Array; readonly callback: Callback | undefined }
  | { readonly name: 'end'; readonly callback: Callback | undefined }
  | { readonly name: 'destroy'; readonly error: Error | undefined }
  | { readonly name: 'resetAndDestroy' };

export interface HoldOptions {
  /** Keeps `destroy` and `resetAndDestroy` as well, which otherwise close this process' copy. @default false */
  readonly destroy?: boolean;
  /** Called with each call that is kept. */
  readonly hear?: () => void;
}

/** What the app had not read: as the stream keeps it, and the bytes of a character that is not whole yet. */
interface Unread {
  readonly chunks: readonly (Buffer | string)[];
  readonly partial: Uint8Array;
}

const up = new WeakMap<Socket, Fence>();

/** The fence that keeps from the client what is done to this socket. */
function fenceHolding(socket: Socket): Fence | undefined {
  const fence = up.get(socket);
  return fence?.isHolding ? fence : undefined;
}

/** Whether what is done to this socket is kept from the client. */
export function isHeld(socket: Socket): boolean {
  return fenceHolding(socket) !== undefined;
}

/** A method that keeps calls while a fence holds its socket. Code that took the method then and calls it later gets Node's. */
function kept(method: 'write' | 'end' | 'destroy' | 'resetAndDestroy', keep: Keep): Override {
  return {
    value(this: Socket, ...args: unknown[]): unknown {
      const fence = fenceHolding(this);
      return fence ? keep(fence, args) : Reflect.apply(Socket.prototype[method], this, args);
    },
  };
}

type Keep = (fence: Fence, args: readonly unknown[]) => unknown;

/**
 * Whether both directions are open, and nobody but the app reads: no TLS, and no HTTP parser, which would consume the handle
 * (FACTS C5). A FIN that has been read shows before its 'end' is heard.
 */
export function isOpenBothWays(socket: Socket): boolean {
  const { _readableState: state, parser } = socket as { _readableState?: { ended?: boolean }; parser?: unknown };
  const isPlain = !('encrypted' in socket) && !parser;
  return isPlain && isAlive(socket) && state?.ended === false && !socket.writableEnded;
}

function isAlive(socket: Socket): boolean {
  return !socket.destroyed && !socket.connecting && streamHandle(socket) !== undefined;
}

export class Fence {
  static readonly #READING: Overrides = { readStart: { value: () => 0 } };
  /** One set for all sockets: with functions made for each, raising, holding and dropping took 14 us a connection, not 2. */
  static readonly #WRITING: Overrides = {
    write: kept('write', (fence, [chunk, encoding, callback]) => fence.#write(chunk, encoding, callback)),
    end: kept('end', (fence, args) => fence.#end(args)),
    resetAndDestroy: kept('resetAndDestroy', (fence) => fence.#socket.destroy()),
  };
  static readonly #WRITING_AND_DESTROYING: Overrides = {
    ...Fence.#WRITING,
    resetAndDestroy: kept('resetAndDestroy', (fence) => fence.#add({ name: 'resetAndDestroy' })),
    destroy: kept('destroy', (fence, [error]) => fence.#add({ name: 'destroy', error: error as Error | undefined })),
  };

  /** The descriptor, which stays the socket's. */
  readonly fd: number;
  readonly #socket: Socket;
  #openReading: (() => void) | undefined;
  #openWriting: (() => void) | undefined;
  #hear: (() => void) | undefined;
  /** The socket's own `write` before {@link hold}. */
  #writeNow: Socket['write'] = Socket.prototype.write;
  #calls: Call[] = [];
  #heldBytes = 0;
  #wantsDrain = false;
  #unread: Unread | undefined;
  #timeout = 0;

  private constructor(socket: Socket, fd: number, openReading: () => void) {
    this.#socket = socket;
    this.fd = fd;
    this.#openReading = openReading;
    up.set(socket, this);
  }

  /**
   * Stops reading, also where Node or the app would start it again (HTTP does when a body has been read); what comes waits in
   * the kernel. Undefined: this Node cannot, or the socket has a fence.
   */
  static raise(socket: Socket): Fence | undefined {
    const handle = streamHandle(socket);
    if (up.has(socket) || handle?.readStop() !== 0) return undefined;
    return new Fence(socket, handle.fd, override(handle, Fence.#READING));
  }

  get isHolding(): boolean {
    return this.#openWriting !== undefined;
  }

  /** What was held so far. */
  get calls(): readonly Call[] {
    return this.#calls;
  }

  /** The bytes that {@link takeUnread} took. */
  get head(): Uint8Array {
    const encoding = this.#socket.readableEncoding ?? 'utf8';
    const { chunks = [], partial = new Uint8Array(0) } = this.#unread ?? {};
    return Buffer.concat([
      ...chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)),
      partial,
    ]);
  }

  /** Takes what has been read and the app has not seen, without a word to the app; `resumeReading` gives it back. */
  takeUnread(): void {
    const socket = this.#socket;
    const chunks: (Buffer | string)[] = [];
    const unmute = override(socket, MUTED);
    try {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk as Buffer | string);
    } finally {
      unmute();
    }
    this.#unread = { chunks, partial: partialCharacter(socket) };
  }

  /** Stops the socket's own timeout until `resumeReading`: it must not end a connection whose bytes wait in the kernel. */
  stopClock(): void {
    const { timeout = 0 } = this.#socket;
    if (timeout === 0) return;
    this.#timeout = timeout;
    this.#socket.setTimeout(0);
  }

  /**
   * Keeps what is written from now on, by the app or by Node (a 408 to a connection whose first request does not come in
   * time), and the end: a FIN goes out through every copy of a descriptor (FACTS C4). `resetAndDestroy` resets nothing: it
   * would set SO_LINGER on the description that both processes share.
   */
  hold({ destroy = false, hear }: HoldOptions = {}): void {
    const socket = this.#socket;
    this.#hear = hear;
    this.#writeNow = socket.write;
    this.#openWriting = override(socket, destroy ? Fence.#WRITING_AND_DESTROYING : Fence.#WRITING);
  }

  /** The first so many bytes written were never meant to be: they count as sent. */
  swallow(count: number): void {
    let left = count;
    this.#calls = this.#calls.flatMap((call): Call[] => {
      if (call.name !== 'write' || left === 0) return [call];
      const taken = Math.min(left, call.bytes.length);
      left -= taken;
      if (taken < call.bytes.length) return [{ ...call, bytes: call.bytes.subarray(taken) }];
      if (call.callback) process.nextTick(call.callback, null);
      return [];
    });
  }

  /** Undoes {@link hold}: what was held happens now. */
  resumeWriting(): void {
    this.#stopHolding();
    const calls = this.#calls;
    this.#calls = [];
    const socket = this.#socket;
    let hasRoom = true;
    for (const call of calls) {
      if (call.name === 'write') hasRoom = socket.write(call.bytes, call.callback);
      else if (call.name === 'end') socket.end(call.callback);
      else if (call.name === 'destroy') socket.destroy(call.error);
      else socket.resetAndDestroy();
    }
    // A caller whose `write()` returned false waits for 'drain'. Node will not emit it here, so we do.
    if (this.#wantsDrain && hasRoom) process.nextTick(() => socket.emit('drain'));
    this.#heldBytes = 0;
    this.#wantsDrain = false;
  }

  /** Undoes {@link raise}, {@link takeUnread} and {@link stopClock}: it reads if Node wants it to by now. */
  resumeReading(): void {
    if (!this.#openReading) return;
    if (up.get(this.#socket) === this) up.delete(this.#socket);
    if (this.#timeout > 0 && !this.#socket.destroyed) this.#socket.setTimeout(this.#timeout);
    // Listeners of the app get the bytes, and what they throw is the app's.
    if (this.#unread?.chunks.length) process.nextTick(() => this.#startReading());
    else this.#startReading();
  }

  /** Undoes everything. */
  lift(): void {
    this.resumeWriting();
    this.resumeReading();
  }

  /** The connection is another process', or nobody's: the socket can be destroyed, and what was held fails. */
  drop(error?: Error): void {
    this.#stopHolding();
    const calls = this.#calls;
    this.#calls = [];
    for (const call of calls) {
      if ('callback' in call && call.callback) process.nextTick(call.callback, error ?? moved());
    }
  }

  /** Closes this process' copy, without a FIN, and the app hears nothing of it, now or later. */
  release(): void {
    const socket = this.#socket;
    override(socket, MUTED);
    socket.removeAllListeners();
    this.drop();
    socket.destroy();
  }

  #write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const socket = this.#socket;
    const bytes = toBytes(chunk, encoding);
    // Node says what is wrong with it.
    if (!bytes) return Reflect.apply(this.#writeNow, socket, [chunk, encoding, callback]) as boolean;
    const given = (typeof encoding === 'function' ? encoding : callback) as Callback | undefined;
    this.#heldBytes += bytes.length;
    this.#add({ name: 'write', bytes, callback: given });
    const hasRoom = this.#heldBytes < socket.writableHighWaterMark;
    this.#wantsDrain ||= !hasRoom;
    return hasRoom;
  }

  #end(args: readonly unknown[]): Socket {
    const [chunk, encoding] = args;
    const given = args.find((argument) => typeof argument === 'function') as Callback;
    const encodingOfChunk = typeof encoding === 'string' ? encoding : undefined;
    if (chunk !== undefined && chunk !== null && chunk !== given) this.#write(chunk, encodingOfChunk);
    return this.#add({ name: 'end', callback: given });
  }

  #add(call: Call): Socket {
    this.#calls.push(call);
    this.#hear?.();
    return this.#socket;
  }

  #stopHolding(): void {
    this.#openWriting?.();
    this.#openWriting = undefined;
  }

  #startReading(): void {
    this.#openReading?.();
    this.#openReading = undefined;
    const socket = this.#socket;
    if (!isAlive(socket)) return;
    try {
      this.#putBack();
    } finally {
      // A listener that got the bytes just now may have ended it.
      const handle = streamHandle(socket);
      if (handle && handle.reading !== false) handle.readStart();
    }
  }

  /** In one piece: a flowing stream passes each on at once. A half character is in the decoder still. */
  #putBack(): void {
    const { chunks = [] } = this.#unread ?? {};
    const encoding = this.#socket.readableEncoding;
    if (chunks.length === 0) return;
    if (encoding) this.#socket.unshift(chunks.join(''), encoding);
    else this.#socket.unshift(Buffer.concat(chunks as readonly Buffer[]));
  }
}

const MUTED: Overrides = { emit: { value: () => false } };

/** Undefined: Node would not write this. @throws TypeError an encoding that Node does not know */
function toBytes(chunk: unknown, encoding: unknown): Uint8Array | undefined {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  if (chunk instanceof Uint8Array) return chunk;
  return ArrayBuffer.isView(chunk) ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : undefined;
}

interface Decoder {
  readonly lastNeed: number;
  readonly lastTotal: number;
  readonly lastChar: Uint8Array;
}

/** After `setEncoding()` the decoder keeps a half character to itself. */
function partialCharacter(socket: Socket): Uint8Array {
  const { _readableState: state } = socket as { _readableState?: { decoder?: Partial<Decoder> | null } };
  const { lastNeed = 0, lastTotal = 0, lastChar } = state?.decoder ?? {};
  return lastNeed > 0 && lastChar ? Uint8Array.from(lastChar.subarray(0, lastTotal - lastNeed)) : new Uint8Array(0);
}

function moved(): Error {
  return Object.assign(new Error('the connection has moved to the successor'), { code: 'ERR_STREAM_DESTROYED' });
}
