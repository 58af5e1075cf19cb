// The part of RFC 6455 that a client needs to send a text message and to recognise its answer.
import { createHash, randomBytes } from 'node:crypto';

const KEY_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const CONTROL_LIMIT_BYTES = 125;
const MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024;

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** The required Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + KEY_SUFFIX)
    .digest('base64');
}

/** A whole, masked frame. */
export function maskedFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const header = length < 126 ? Buffer.from([0x80 | length]) : Buffer.from([0xfe, length >> 8, length & 255]);
  if (length > 65_535) throw new RangeError('a frame of this client has at most 65535 bytes');
  const mask = randomBytes(4);
  const masked = payload.map((byte, i) => byte ^ (mask[i & 3] ?? 0));
  return Buffer.concat([Buffer.from([0x80 | opcode]), header, mask, masked]);
}

export interface Message {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Cuts bytes into messages; control frames may stand between the frames of one. */
export class MessageReader {
  /** Why the bytes are no frames. */
  complaint: string | undefined;
  #pending: Buffer = Buffer.alloc(0);
  #opcode = 0;
  #fragments: Buffer[] = [];

  /** Whether a message has begun and not ended. */
  get isInside(): boolean {
    return this.#pending.length > 0 || this.#fragments.length > 0;
  }

  push(bytes: Buffer): Message[] {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    const messages: Message[] = [];
    while (this.complaint === undefined) {
      const frame = this.#frame();
      if (frame === undefined) break;
      const message = this.#take(frame);
      if (message !== undefined) messages.push(message);
    }
    return messages;
  }

  #frame(): (Message & { readonly isLast: boolean }) | undefined {
    const pending = this.#pending;
    if (pending.length < 2) return undefined;
    const first = pending.readUInt8(0);
    const second = pending.readUInt8(1);
    if ((first & 0x70) !== 0) return this.#reject('reserved bits in a frame');
    if ((second & 0x80) !== 0) return this.#reject('a masked frame from a server');
    const extended = second === 126 ? 2 : second === 127 ? 8 : 0;
    if (pending.length < 2 + extended) return undefined;
    const length =
      extended === 0 ? second : extended === 2 ? pending.readUInt16BE(2) : Number(pending.readBigUInt64BE(2));
    // RFC 6455 §5.5.
    if ((first & 15) >= OPCODE.close && (length > CONTROL_LIMIT_BYTES || (first & 0x80) === 0)) {
      return this.#reject('a control frame that is too long or in fragments');
    }
    if (length > MESSAGE_LIMIT_BYTES) return this.#reject(`a frame of ${length} bytes`);
    const end = 2 + extended + length;
    if (pending.length < end) return undefined;
    this.#pending = pending.subarray(end);
    return { opcode: first & 15, isLast: (first & 0x80) !== 0, payload: pending.subarray(2 + extended, end) };
  }

  #take({ opcode, isLast, payload }: Message & { readonly isLast: boolean }): Message | undefined {
    if (opcode >= OPCODE.close) return { opcode, payload };
    if (opcode !== OPCODE.continuation) this.#opcode = opcode;
    this.#fragments.push(payload);
    if (!isLast) return undefined;
    const message = { opcode: this.#opcode, payload: Buffer.concat(this.#fragments) };
    this.#fragments = [];
    return message;
  }

  #reject(complaint: string): undefined {
    this.complaint = complaint;
    return undefined;
  }
}
