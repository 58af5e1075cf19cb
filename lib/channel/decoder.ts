// Cuts a stream of reads into frames. Two queues, bytes and descriptors, because the kernel attaches descriptors to a
// read and not to a message (FACTS K5): a frame is complete when both have enough.
import { HEADER_BYTES, MAX_FRAME_FDS, MAX_PAYLOAD_BYTES, type RawFrame } from './wire.js';

interface Header {
  readonly length: number;
  readonly type: number;
  readonly fdCount: number;
}

export class FrameDecoder {
  #chunks: Buffer[] = [];
  #byteCount = 0;
  #fds: number[] = [];
  #header: Header | undefined;

  /** Takes what one read gave; the descriptors are this decoder's until a frame or `release()` gives them out. */
  push(bytes: Buffer, fds: Int32Array): void {
    if (bytes.length > 0) this.#chunks.push(bytes);
    this.#byteCount += bytes.length;
    for (const fd of fds) this.#fds.push(fd);
  }

  /** The next complete frame, or undefined until more is pushed. @throws Error where a limit is passed */
  next(): RawFrame | undefined {
    this.#header ??= this.#readHeader();
    // Between two frames none is on its way: what is left came with the frame before, which did not announce it.
    if (!this.#header) return this.#expectNoStray(this.#byteCount === 0 ? 0 : MAX_FRAME_FDS);
    const { length, type, fdCount } = this.#header;
    if (this.#byteCount < length) return this.#expectNoStray(fdCount);
    // They come with the first byte of the message that carries them (FACTS K5): none can follow the last.
    if (this.#fds.length < fdCount) throw new Error(`${this.#fds.length} descriptors came of ${fdCount} announced`);
    this.#header = undefined;
    return { type, payload: this.#take(length), fds: Int32Array.from(this.#fds.splice(0, fdCount)) };
  }

  /** True between two frames. */
  get isEmpty(): boolean {
    return this.#byteCount === 0 && this.#fds.length === 0 && this.#header === undefined;
  }

  /** Gives up: the descriptors of no complete frame, which the caller now owns. */
  release(): Int32Array {
    this.#chunks = [];
    this.#byteCount = 0;
    this.#header = undefined;
    return Int32Array.from(this.#fds.splice(0));
  }

  #readHeader(): Header | undefined {
    if (this.#byteCount < HEADER_BYTES) return undefined;
    const bytes = this.#take(HEADER_BYTES);
    const header = { length: bytes.readUInt32BE(0), type: bytes.readUInt16BE(4), fdCount: bytes.readUInt16BE(6) };
    if (header.length > MAX_PAYLOAD_BYTES)
      throw new Error(`frame of ${header.length} bytes: the limit is ${MAX_PAYLOAD_BYTES}`);
    if (header.fdCount > MAX_FRAME_FDS)
      throw new Error(`frame with ${header.fdCount} descriptors: the limit is ${MAX_FRAME_FDS}`);
    return header;
  }

  /** Descriptors beyond what the frame being read announced have no owner: nothing after its bytes has come yet. */
  #expectNoStray(expected: number): undefined {
    if (this.#fds.length > expected) throw new Error(`${this.#fds.length - expected} descriptors belong to no frame`);
  }

  #take(length: number): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#byteCount -= length;
    this.#chunks = this.#byteCount > 0 ? [all.subarray(length)] : [];
    return all.subarray(0, length);
  }
}
