// Calls between a supervisor and its workers, and between the command line and either: JSON with descriptors, both ways over
// one socket. They are not part of the handover protocol, but the same decoder cuts them.

import { HandoverError, type HandoverErrorDetails, hasCode, knownCode, toError } from '../errors.js';
import { PHASES } from '../events.js';
import { closeFds, type FdSocket } from '../fd/index.js';
import { FrameDecoder } from './decoder.js';
import { HEADER_BYTES, type RawFrame } from './frames.js';

/** A value of a JSON payload. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };
export type Params = { readonly [key: string]: Json | undefined };

/** A received call or answer. The receiver owns the descriptors. */
export interface Message {
  readonly params: Params;
  readonly fds: Int32Array;
}

/** The answer of a handler. `Rpc` owns the descriptors, and closes them once the kernel has them or sending failed. */
export interface Answer {
  readonly params?: Params;
  readonly fds?: Int32Array;
}

/** Answers a call. Owns the descriptors that came with it. An error that it throws is sent to the caller. */
export type Handler = (message: Message) => Answer | undefined | Promise<Answer | undefined>;

export interface RpcHandlers {
  readonly calls: Readonly<Record<string, Handler>>;
  /** Called with each event of the other process: a message that asks for no answer. */
  readonly onEvent?: (name: string, params: Params) => void;
}

/** The frame type of a message. The handover protocol has no frame of this type. */
const RPC_TYPE = 0x40;
const NO_FDS = new Int32Array(0);

interface Pending {
  readonly resolve: (message: Message) => void;
  readonly reject: (error: Error) => void;
}

/** One end of the socket, which it owns. */
export class Rpc {
  /** Resolves when either end is closed. Never rejects. */
  readonly closed: Promise<void>;
  readonly #socket: FdSocket;
  readonly #handlers: RpcHandlers;
  readonly #pending = new Map<number, Pending>();
  #sent = 0;
  #isUnref = false;

  constructor(socket: FdSocket, handlers: RpcHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.closed = this.#read();
  }

  /**
   * Calls a method of the other process. Owns `fds`, and closes them once the kernel has them or sending failed. The caller
   * owns the descriptors of the answer.
   * @throws the error of the handler, with its code; ERR_HANDOVER_PEER_LOST the socket closed before the answer; the system's
   *   error of sendmsg(2)
   */
  async call(method: string, params: Params = {}, fds: Int32Array = NO_FDS): Promise<Message> {
    const id = ++this.#sent;
    const answer = new Promise<Message>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#socket.ref();
    // A call that was not sent gets no answer: a descriptor is bad, too many are in flight, or the other end is closed.
    this.#send({ call: id, method, params }, fds).catch((error: unknown) => {
      this.#pending.get(id)?.reject(isEnd(error) ? peerLost() : (error as Error));
      this.#pending.delete(id);
      this.#relax();
    });
    return answer;
  }

  /** Sends an event. It is lost where the other end is closed. */
  tell(event: string, params: Params = {}): void {
    this.#send({ event, params }, NO_FDS).catch(() => {});
  }

  /** Lets the process end although the socket is open, except while a call waits for its answer. */
  unref(): void {
    this.#isUnref = true;
    this.#relax();
  }

  close(): void {
    this.#socket.close();
  }

  get isClosed(): boolean {
    return this.#socket.closed;
  }

  async #send(message: object, fds: Int32Array): Promise<void> {
    try {
      const body = Buffer.from(JSON.stringify(message));
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32BE(body.length, 0);
      header.writeUInt16BE(RPC_TYPE, 4);
      header.writeUInt16BE(fds.length, 6);
      await this.#socket.send(Buffer.concat([header, body]), fds);
    } finally {
      closeFds(fds);
    }
  }

  #relax(): void {
    if (this.#isUnref && this.#pending.size === 0) this.#socket.unref();
  }

  async #read(): Promise<void> {
    const decoder = new FrameDecoder();
    try {
      for await (const { bytes, fds } of this.#socket) {
        decoder.push(bytes, fds);
        for (let frame = decoder.next(); frame; frame = decoder.next()) this.#onFrame(frame);
      }
    } catch {
      // The peer died, or does not speak this protocol: no answer will come.
    } finally {
      closeFds(decoder.release());
      this.#socket.close();
      for (const { reject } of this.#pending.values()) reject(peerLost());
      this.#pending.clear();
    }
  }

  /** @throws Error the frame is no message: it has another type, or no JSON */
  #onFrame({ type, payload, fds }: RawFrame): void {
    let message: Record<string, unknown>;
    try {
      if (type !== RPC_TYPE) throw new Error(`a frame of type ${type}`);
      message = expectObject(JSON.parse(payload.toString('utf8')));
    } catch (error) {
      closeFds(fds);
      throw error;
    }
    this.#onMessage(message, fds);
  }

  #onMessage(message: Record<string, unknown>, fds: Int32Array): void {
    const params = (message.params ?? {}) as Params;
    if (typeof message.call === 'number') {
      void this.#answer(message.call, String(message.method), { params, fds });
    } else if (typeof message.answer === 'number') {
      const pending = this.#pending.get(message.answer);
      this.#pending.delete(message.answer);
      this.#relax();
      if (!pending || message.error !== undefined) closeFds(fds);
      if (message.error !== undefined) pending?.reject(revive(message.error as Params));
      else pending?.resolve({ params, fds });
    } else {
      closeFds(fds);
      if (typeof message.event === 'string') this.#handlers.onEvent?.(message.event, params);
    }
  }

  async #answer(id: number, method: string, message: Message): Promise<void> {
    try {
      const handler = Object.hasOwn(this.#handlers.calls, method) ? this.#handlers.calls[method] : undefined;
      if (!handler) {
        closeFds(message.fds);
        throw new HandoverError(
          'ERR_HANDOVER_UNKNOWN_COMMAND',
          `the other process does not know the command "${method}"`,
          {
            stillServing: true,
          },
        );
      }
      const { params = {}, fds = NO_FDS } = (await handler(message)) ?? {};
      await this.#send({ answer: id, params }, fds);
    } catch (error) {
      this.#send({ answer: id, error: describe(error) }, NO_FDS).catch(() => {});
    }
  }
}

const SYSTEM_DETAILS = ['errno', 'syscall', 'address', 'port', 'path'] as const;
const HANDOVER_DETAILS = ['phase', 'stillServing', 'stderr', 'exitCode', 'exitSignal', 'connectionsLost'] as const;
const DETAILS = ['code', ...HANDOVER_DETAILS, ...SYSTEM_DETAILS] as const;

function describe(error: unknown): Params {
  const source = toError(error) as Error & Record<string, Json | undefined>;
  return { message: source.message, ...Object.fromEntries(DETAILS.map((key) => [key, source[key]])) };
}

function revive({ message, ...details }: Params): Error {
  const text = String(message);
  const code = knownCode(details.code as string | undefined);
  if (code === undefined) return Object.assign(new Error(text), details);
  const { phase, stillServing } = details;
  return new HandoverError(code, text, {
    ...(details as Omit<HandoverErrorDetails, 'phase' | 'stillServing'>),
    // A newer version may have phases that this one does not know.
    phase: PHASES.find((known) => known === phase),
    stillServing: stillServing !== false,
  });
}

function expectObject(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new Error('no object');
}

/** Whether sending failed because this end or the other one is closed. */
function isEnd(error: unknown): boolean {
  return ['EPIPE', 'ECONNRESET', 'ECANCELED'].some((code) => hasCode(error, code));
}

function peerLost(): HandoverError {
  return new HandoverError('ERR_HANDOVER_PEER_LOST', 'the other process closed the connection before it answered', {
    stillServing: true,
  });
}

/** Whether a call failed because the socket closed before the answer. */
export function isPeerLost(error: unknown): boolean {
  return hasCode(error, 'ERR_HANDOVER_PEER_LOST');
}
