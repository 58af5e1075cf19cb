// A fence around a connected socket: this process neither reads nor writes, and the app does not notice, until the fence is
// lifted or the connection belongs to another process. Meanwhile both processes hold the descriptor (guarantee G4).
import { Socket } from 'node:net';
import { type Override, type Overrides, override } from './override.js';
import { type StreamHandle, streamHandle } from './stream-handle.js';

type Callback = (error?: Error | null) => void;

/** A call that the app or Node made on a fenced socket, and the fence kept. */
export type Call =
  | { readonly name: 'write'; readonly bytes: Uint8Array; readonly callback: Callback | undefined }
  | { readonly name: 'end'; readonly callback: Callback | undefined }
  | { readonly name: 'destroy'; readonly error: Error | undefined }
  | { readonly name: 'resetAndDestroy' };

export interface HoldOptions {
  /** Keep calls of `destroy` and `resetAndDestroy`, too. Otherwise both close this process' copy at once. @default false */
  readonly destroy?: boolean;
  /** Called after each call that the fence keeps. */
  readonly hear?: () => void;
}

/** Data that Node has read and the app has not: the chunks of the stream, and the bytes of an incomplete character. */
interface Unread {
  readonly chunks: readonly (Buffer | string)[];
  readonly partial: Uint8Array;
}

const up = new WeakMap<Socket, Fence>();

/** The fence that keeps the calls on this socket; undefined where none does. */
function fenceHolding(socket: Socket): Fence | undefined {
  const fence = up.get(socket);
  return fence?.isHolding ? fence : undefined;
}

/** Whether a fence keeps the calls on this socket, so that the client sees no effect of them. */
export function isHeld(socket: Socket): boolean {
  return fenceHolding(socket) !== undefined;
}

/** A method that keeps calls while a fence holds its socket. Code that stored it and calls it later reaches Node's method. */
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
 * Whether both directions are open, and only the app reads: no TLS socket and no HTTP parser, which consumes the handle (FACTS
 * C5). Looks at the state of the stream, because a FIN shows there before Node emits 'end'.
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
  /** All sockets share these functions: with functions for each, raising, holding and dropping took 14 us a connection, not 2. */
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

  /** The descriptor, which the socket owns. */
  readonly fd: number;
  readonly #socket: Socket;
  /** The handle whose `readStart` does nothing. */
  #stopped: StreamHandle | undefined;
  #openWriting: (() => void) | undefined;
  #isHolding = false;
  #hear: (() => void) | undefined;
  /** The socket's own `write` before {@link hold}. */
  #writeNow: Socket['write'] = Socket.prototype.write;
  #calls: Call[] = [];
  #heldBytes = 0;
  #wantsDrain = false;
  #unread: Unread | undefined;
  #timeout = 0;

  private constructor(socket: Socket, handle: StreamHandle) {
    this.#socket = socket;
    this.fd = handle.fd;
    this.#stopped = handle;
    // Nobody but Node knows the handle. A plain property in front of the method of its class costs a tenth of override().
    handle.readStart = notNow;
    up.set(socket, this);
  }

  /**
   * Stops reading, and keeps Node and the app from starting it again (Node's HTTP does so when a body has been read). The
   * client's bytes wait in the kernel. Undefined: this Node has no way to stop, or the socket has a fence already.
   */
  static raise(socket: Socket): Fence | undefined {
    const handle = streamHandle(socket);
    if (up.has(socket) || handle?.readStop() !== 0) return undefined;
    return new Fence(socket, handle);
  }

  get isHolding(): boolean {
    return this.#isHolding;
  }

  /** The calls kept so far. */
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

  /** Takes the data that Node has read and the app has not. The stream emits no event for it. `resumeReading` gives it back. */
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

  /** Stops the socket's timeout until `resumeReading`: it must not end a connection whose bytes wait in the kernel. */
  stopClock(): void {
    const { timeout = 0 } = this.#socket;
    if (timeout === 0) return;
    this.#timeout = timeout;
    this.#socket.setTimeout(0);
  }

  /**
   * Keeps later calls of `write` and `end`, by the app or by Node (a 408 to a client whose first request is late). A FIN of this
   * process would end the connection of both, as every copy of a descriptor sends it (FACTS C4). Unless kept, `resetAndDestroy`
   * only closes this copy: it would set SO_LINGER on the open file description, which both processes share.
   */
  hold({ destroy = false, hear }: HoldOptions = {}): void {
    const socket = this.#socket;
    this.#hear = hear;
    this.#writeNow = socket.write;
    this.#openWriting = override(socket, destroy ? Fence.#WRITING_AND_DESTROYING : Fence.#WRITING);
    this.#isHolding = true;
  }

  /** Drops the first `count` bytes of the kept writes. Their callbacks are called as if the bytes were sent. */
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

  /** Undoes {@link hold}, and makes the kept calls. */
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

  /** Undoes {@link raise}, {@link takeUnread} and {@link stopClock}. Reading starts where Node has wanted it meanwhile. */
  resumeReading(): void {
    if (!this.#stopped) return;
    if (up.get(this.#socket) === this) up.delete(this.#socket);
    if (this.#timeout > 0 && !this.#socket.destroyed) this.#socket.setTimeout(this.#timeout);
    // The app's listeners get the bytes in a later tick: an exception of theirs must reach the app, not the caller.
    if (this.#unread?.chunks.length) process.nextTick(() => this.#startReading());
    else this.#startReading();
  }

  /** Undoes `hold`, `raise`, `takeUnread` and `stopClock`. */
  lift(): void {
    this.resumeWriting();
    this.resumeReading();
  }

  /** Drops the kept calls, whose callbacks get an error. The socket can be destroyed: its connection was given away or ends. */
  drop(error?: Error): void {
    // The socket ends. Without a hold its methods are Node's again, and to take them away would cost as much as the hold.
    if (this.#writeNow === Socket.prototype.write) this.#isHolding = false;
    else this.#stopHolding();
    const calls = this.#calls;
    this.#calls = [];
    for (const call of calls) {
      if ('callback' in call && call.callback) process.nextTick(call.callback, error ?? moved());
    }
  }

  /** Closes this process' copy without a FIN, and without any event to the app. */
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
    // The socket's own `write` throws the error for a chunk of a wrong type.
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
    this.#isHolding = false;
    this.#openWriting?.();
    this.#openWriting = undefined;
  }

  #startReading(): void {
    if (this.#stopped) Reflect.deleteProperty(this.#stopped, 'readStart');
    this.#stopped = undefined;
    const socket = this.#socket;
    if (!isAlive(socket)) return;
    try {
      this.#putBack();
    } finally {
      // An app listener that has just got the bytes may have destroyed the socket.
      const handle = streamHandle(socket);
      if (handle && handle.reading !== false) handle.readStart();
    }
  }

  /** Puts all chunks back in one piece: a flowing stream emits each `unshift` at once. The decoder still has a half character. */
  #putBack(): void {
    const { chunks = [] } = this.#unread ?? {};
    const encoding = this.#socket.readableEncoding;
    if (chunks.length === 0) return;
    if (encoding) this.#socket.unshift(chunks.join(''), encoding);
    else this.#socket.unshift(Buffer.concat(chunks as readonly Buffer[]));
  }
}

function notNow(): number {
  return 0;
}

const MUTED: Overrides = { emit: { value: () => false } };

/** The bytes of a chunk; undefined for a type that Node does not write. @throws TypeError Node does not know the encoding */
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

/** The bytes of an incomplete character, which the stream's decoder keeps after `setEncoding()`. */
function partialCharacter(socket: Socket): Uint8Array {
  const { _readableState: state } = socket as { _readableState?: { decoder?: Partial<Decoder> | null } };
  const { lastNeed = 0, lastTotal = 0, lastChar } = state?.decoder ?? {};
  return lastNeed > 0 && lastChar ? Uint8Array.from(lastChar.subarray(0, lastTotal - lastNeed)) : new Uint8Array(0);
}

function moved(): Error {
  return Object.assign(new Error('the connection has migrated to the successor'), { code: 'ERR_STREAM_DESTROYED' });
}
