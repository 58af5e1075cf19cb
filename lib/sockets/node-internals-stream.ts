// What leans on Node's internals to stop a socket that the app reads and writes, and to start one again, in this process or
// in another. As in node-internals.ts: looked for at run time, and where it is missing the connection is drained.
import { type Server, Socket } from 'node:net';

interface StreamHandle {
  readonly fd: number;
  readonly reading: boolean;
  readStart(): number;
  readStop(): number;
}

/** The half of a stream that its owner implements: what Node calls to read, to write and to end. */
interface Inner {
  _read(size: number): void;
  _write(chunk: unknown, encoding: string, callback: Callback): void;
  _writev(chunks: unknown, callback: Callback): void;
  _final(callback: Callback): void;
}

type Callback = (error?: Error | null) => void;

const inner = Socket.prototype as unknown as Inner;

function streamHandle(socket: Socket): StreamHandle | undefined {
  const { _handle: handle } = socket as { _handle?: Partial<StreamHandle> | null };
  const isKnown =
    typeof handle?.readStop === 'function' &&
    typeof handle.readStart === 'function' &&
    typeof handle.reading === 'boolean' &&
    typeof handle.fd === 'number';
  return isKnown && (handle.fd ?? -1) >= 0 ? (handle as StreamHandle) : undefined;
}

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

/** Own properties in front of the prototype's, and what takes them away again. */
function override(target: object, values: Readonly<Record<string, unknown>>): () => void {
  const former = Object.keys(values).map((key) => [key, Object.getOwnPropertyDescriptor(target, key)] as const);
  for (const [key, value] of Object.entries(values)) {
    Object.defineProperty(target, key, { value, configurable: true, writable: true });
  }
  return () => {
    for (const [key, property] of former) {
      if (property) Object.defineProperty(target, key, property);
      else Reflect.deleteProperty(target, key);
    }
  };
}

const MUTE = (): boolean => false;

/** What the app had not read: as the stream keeps it, and the bytes of a character that is not whole yet. */
interface Unread {
  readonly chunks: readonly (Buffer | string)[];
  readonly partial: Uint8Array;
}

/** Empties the buffer of a socket whose `_read` does nothing, without a word to the app. */
function takeUnread(socket: Socket): Unread {
  const chunks: (Buffer | string)[] = [];
  const unmute = override(socket, { emit: MUTE });
  try {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk as Buffer | string);
  } finally {
    unmute();
  }
  return { chunks, partial: partialCharacter(socket) };
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

/** Keeps a socket from the app: nothing more of it is read, nor, later, written; and undoes it. */
export class Fence {
  readonly #socket: Socket;
  readonly #unread: Unread;
  readonly #wasReading: boolean;
  #isReadAskedFor = false;
  readonly #openReading: () => void;
  #openWriting: (() => void) | undefined;
  /** What the app began meanwhile; a stream begins one at a time and buffers the others. */
  #held: { readonly go: () => void; readonly fail: Callback } | undefined;
  #timeout: number | undefined;

  /** Stops reading. Undefined: this one, or this Node, cannot be stopped. */
  static raise(socket: Socket): Fence | undefined {
    const handle = streamHandle(socket);
    if (!isOpenBothWays(socket) || handle?.readStop() !== 0) return undefined;
    return new Fence(socket, handle.reading);
  }

  private constructor(socket: Socket, wasReading: boolean) {
    this.#socket = socket;
    this.#wasReading = wasReading;
    // A consumer that resumes would start the handle again.
    this.#openReading = override(socket, {
      _read: () => {
        this.#isReadAskedFor = true;
      },
    });
    this.#unread = takeUnread(socket);
  }

  /** The bytes that were read and that the app has not seen. */
  get head(): Uint8Array {
    const encoding = this.#socket.readableEncoding ?? 'utf8';
    const { chunks, partial } = this.#unread;
    return Buffer.concat([
      ...chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)),
      partial,
    ]);
  }

  /** Whether both directions are open still. */
  get isOpen(): boolean {
    return isOpenBothWays(this.#socket);
  }

  /** The app's timeout ends with what it saved. */
  stopClock(): void {
    const { timeout } = this.#socket;
    if (!timeout) return;
    this.#timeout = timeout;
    this.#socket.setTimeout(0);
  }

  /**
   * Holds back what the app writes from now on, also the end: a FIN goes out through every copy of a descriptor (FACTS C4).
   * @returns the descriptor, which stays the socket's
   */
  stopWriting(): number | undefined {
    const fd = streamHandle(this.#socket)?.fd;
    if (fd === undefined) return undefined;
    const socket = this.#socket;
    const hold = (callback: Callback, go: () => void): void => {
      this.#held = { go, fail: callback };
    };
    this.#openWriting = override(socket, {
      _write: (chunk: unknown, encoding: string, callback: Callback) =>
        hold(callback, () => inner._write.call(socket, chunk, encoding, callback)),
      _writev: (chunks: unknown, callback: Callback) =>
        hold(callback, () => inner._writev.call(socket, chunks, callback)),
      _final: (callback: Callback) => hold(callback, () => inner._final.call(socket, callback)),
      // It would set SO_LINGER on the description that both processes share.
      resetAndDestroy: () => socket.destroy(),
    });
    return fd;
  }

  /** Undoes {@link stopWriting}: what was held back goes out. */
  resumeWriting(): void {
    this.#openWriting?.();
    this.#openWriting = undefined;
    const held = this.#held;
    this.#held = undefined;
    // The app's callbacks may throw, and what they throw is the app's.
    if (held) process.nextTick(() => (isAlive(this.#socket) ? held.go() : held.fail(moved())));
  }

  /** Undoes everything: the unread bytes are unread again. */
  lift(): void {
    this.resumeWriting();
    if (this.#timeout !== undefined && !this.#socket.destroyed) this.#socket.setTimeout(this.#timeout);
    process.nextTick(() => this.#resumeReading());
  }

  /** Closes this process' copy, without a FIN, and the app hears nothing of it, now or later. */
  release(): void {
    const socket = this.#socket;
    override(socket, { emit: MUTE });
    socket.removeAllListeners();
    socket.destroy();
    const held = this.#held;
    this.#held = undefined;
    if (held) process.nextTick(() => held.fail(moved()));
  }

  #resumeReading(): void {
    this.#openReading();
    const socket = this.#socket;
    if (!isAlive(socket)) return;
    try {
      this.#putBack();
    } finally {
      // Whoever read it just now may have ended it.
      if (this.#wasReading) streamHandle(socket)?.readStart();
      else if (this.#isReadAskedFor && isAlive(socket)) inner._read.call(socket, 0);
    }
  }

  /** In one piece: a flowing stream passes each on at once. A half character is in the decoder still. */
  #putBack(): void {
    const { chunks } = this.#unread;
    const encoding = this.#socket.readableEncoding;
    if (chunks.length === 0) return;
    if (encoding) this.#socket.unshift(chunks.join(''), encoding);
    else this.#socket.unshift(Buffer.concat(chunks as readonly Buffer[]));
  }
}

function moved(): Error {
  return Object.assign(new Error('the connection has moved to the successor'), { code: 'ERR_STREAM_DESTROYED' });
}

/** The options of a net.Server that its accepted sockets get. */
interface ServerOptions {
  readonly allowHalfOpen?: boolean;
  readonly highWaterMark?: number;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
  /** In seconds, although its option is in milliseconds. */
  readonly keepAliveInitialDelay?: number;
}

/** A socket as the server would have accepted it, which reads only once the app asks for data. Takes the descriptor. */
export function adoptSocket(fd: number, server: Server): Socket {
  const {
    allowHalfOpen = false,
    highWaterMark,
    noDelay,
    keepAlive,
    keepAliveInitialDelay = 0,
  } = server as ServerOptions;
  const marks = highWaterMark !== undefined && {
    readableHighWaterMark: highWaterMark,
    writableHighWaterMark: highWaterMark,
  };
  const options = { fd, readable: true, writable: true, allowHalfOpen, pauseOnCreate: true, ...marks };
  const socket = new Socket(options);
  // Neither flowing nor paused: a 'data' listener is enough, where `pauseOnCreate` alone would ask for a resume() too.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  if (noDelay) socket.setNoDelay(true);
  if (keepAlive) socket.setKeepAlive(true, keepAliveInitialDelay * 1000);
  return socket;
}
