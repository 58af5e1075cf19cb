// Node's internals behind a socket that neither reads nor writes for a while, and behind a request that is made again:
// looked for at run time; where something is missing the caller gets undefined, and drains instead.
import { IncomingMessage } from 'node:http';
import { type Server, Socket } from 'node:net';
import { countConnection, descriptorOf, startReading, stopReading } from './node-internals.js';

/** As much of the request as it takes to make it again. */
export interface UpgradeRequest {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

type Callback = (error?: Error | null) => void;

/** What was done to a fenced socket. */
export type Call =
  | { readonly name: 'write'; readonly bytes: Uint8Array; readonly callback: Callback | undefined }
  | { readonly name: 'end'; readonly callback: Callback | undefined }
  | { readonly name: 'destroy'; readonly error: Error | undefined }
  | { readonly name: 'resetAndDestroy' };

/**
 * A fence around a socket. Raised, it reads nothing, also when the app listens to 'data', or reads. From `hold` on what is
 * done to the socket is kept, in order, until `lift`.
 */
export class Fence {
  readonly fd: number;
  readonly #socket: Socket;
  #calls: Call[] = [];
  #heldBytes = 0;
  #wantsDrain = false;
  #restore: (() => void) | undefined;
  #isReading = false;

  private constructor(socket: Socket, fd: number) {
    this.#socket = socket;
    this.fd = fd;
  }

  /** Stops reading; undefined where this Node cannot. */
  static raise(socket: Socket): Fence | undefined {
    const fd = descriptorOf(socket);
    return fd !== undefined && stopReading(socket) ? new Fence(socket, fd) : undefined;
  }

  /** What was held so far. */
  get calls(): readonly Call[] {
    return this.#calls;
  }

  /**
   * Holds what is written. `destroy`: and what ends the socket. `hear` is called with each.
   */
  hold({ destroy, hear }: { readonly destroy: boolean; readonly hear?: () => void }): void {
    const add = (call: Call): void => {
      this.#calls.push(call);
      hear?.();
    };
    const socket = this.#socket;
    const write = (chunk: unknown, encoding?: unknown, callback?: unknown): boolean =>
      this.#write(add, chunk, encoding, callback);
    const end = (chunk?: unknown, encoding?: unknown, callback?: unknown): Socket => {
      const given = [chunk, encoding, callback].find((argument) => typeof argument === 'function') as Callback;
      if (chunk !== undefined && chunk !== null && chunk !== given) this.#write(add, chunk, encoding, undefined);
      add({ name: 'end', callback: given });
      return socket;
    };
    const resetAndDestroy = (): Socket => {
      add({ name: 'resetAndDestroy' });
      return socket;
    };
    const destroyed = (error?: Error): Socket => {
      add({ name: 'destroy', error });
      return socket;
    };
    this.#restore = replaceMethods(socket, { write, end, resetAndDestroy, ...(destroy && { destroy: destroyed }) });
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

  /** What was held happens now. `read`: and it reads on. */
  lift({ read }: { readonly read: boolean }): void {
    this.#restore?.();
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
    // Whoever was told to wait does so for an event of ours.
    if (this.#wantsDrain && hasRoom) process.nextTick(() => socket.emit('drain'));
    if (read) this.read();
  }

  /** It reads on. */
  read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    startReading(this.#socket);
  }

  /** The socket can be destroyed; what was held fails. */
  drop(error: Error): void {
    this.#restore?.();
    for (const call of this.#calls) {
      if (call.name === 'write' && call.callback) process.nextTick(call.callback, error);
    }
    this.#calls = [];
  }

  #write(add: (call: Call) => void, chunk: unknown, encoding: unknown, callback: unknown): boolean {
    const given = (typeof encoding === 'function' ? encoding : callback) as Callback | undefined;
    const bytes =
      typeof chunk === 'string'
        ? Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
        : (chunk as Uint8Array);
    this.#heldBytes += bytes.length;
    add({ name: 'write', bytes, callback: given });
    const hasRoom = this.#heldBytes < this.#socket.writableHighWaterMark;
    this.#wantsDrain ||= !hasRoom;
    return hasRoom;
  }
}

/** Defines own methods and returns what puts back the former ones, own or inherited. */
function replaceMethods(target: object, methods: Readonly<Record<string, unknown>>): () => void {
  const former = Object.keys(methods).map((key) => [key, Object.getOwnPropertyDescriptor(target, key)] as const);
  for (const [key, value] of Object.entries(methods)) {
    Object.defineProperty(target, key, { value, configurable: true, writable: true });
  }
  return () => {
    for (const [key, property] of former.splice(0)) {
      if (property) Object.defineProperty(target, key, property);
      else Reflect.deleteProperty(target, key);
    }
  };
}

/**
 * A socket on this descriptor as a server gets it with 'upgrade': it has not read, and begins to when somebody listens.
 * Takes the descriptor, counted by the server. @throws where Node does not take it
 */
export function socketForUpgrade(server: Server, fd: number): Socket {
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: true } as object);
  // As Node's HTTP server does before it emits 'upgrade': null is neither paused nor flowing.
  (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  // And it says of one that has been upgraded that no parser is at it any more: see isUpgraded.
  (socket as { parser?: null }).parser = null;
  countConnection(server, socket);
  return socket;
}

/** The request of an upgrade, made again; undefined where this Node does it in another way. */
export function rebuildRequest(socket: Socket, kept: UpgradeRequest, server: Server): IncomingMessage | undefined {
  const request = new IncomingMessage(socket) as IncomingMessage & {
    _addHeaderLines?: (headers: readonly string[], count: number) => void;
    upgrade?: boolean | null;
    joinDuplicateHeaders?: unknown;
  };
  if (typeof request._addHeaderLines !== 'function') return undefined;
  const [major = '1', minor = '1'] = kept.httpVersion.split('.');
  request.httpVersionMajor = Number(major);
  request.httpVersionMinor = Number(minor);
  request.httpVersion = kept.httpVersion;
  request.method = kept.method;
  request.url = kept.url;
  const { joinDuplicateHeaders } = server as { joinDuplicateHeaders?: unknown };
  if (joinDuplicateHeaders !== undefined) request.joinDuplicateHeaders = joinDuplicateHeaders;
  request._addHeaderLines([...kept.rawHeaders], kept.rawHeaders.length);
  request.upgrade = true;
  request.complete = true;
  request.push(null);
  return request.headers.upgrade === undefined ? undefined : request;
}
