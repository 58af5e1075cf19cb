// Cuts a stream of reads into frames. Two queues, bytes and descriptors, because the kernel attaches descriptors to a
// read and not to a message (FACTS K5): a frame is complete when both have enough.
import { MAX_FDS_PER_MESSAGE } from '../fd/index.js';
import { HEADER_BYTES, MAX_FRAME_FDS, MAX_PAYLOAD_BYTES, type RawFrame } from './frames.js';

/** Descriptors of a frame did not fit into the descriptor table of this process, and are lost. */
export class DescriptorsLost extends Error {
  /** The code by which the addon reports a truncated read (FACTS K3). */
  readonly code = 'ENOBUFS';
}

interface Header {
  /** Position of the header in the stream. */
  readonly at: number;
  readonly length: number;
  readonly type: number;
  readonly fdCount: number;
}

export class FrameDecoder {
  #chunks: Buffer[] = [];
  #byteCount = 0;
  #fds: number[] = [];
  #header: Header | undefined;
  /** Bytes taken since the stream began. */
  #taken = 0;
  /** Positions in the stream of the reads whose descriptors were lost; `next()` removes those that lie behind it. */
  #lost: { readonly from: number; readonly to: number }[] = [];

  /**
   * Takes the result of one read. The decoder owns the descriptors until `next()` or `release()` returns them. `isLost`: the
   * read had descriptors that did not fit into the descriptor table.
   */
  push(bytes: Buffer, fds: Int32Array, isLost = false): void {
    const from = this.#taken + this.#byteCount;
    if (isLost) this.#lost.push({ from, to: from + bytes.length });
    if (bytes.length > 0) this.#chunks.push(bytes);
    this.#byteCount += bytes.length;
    for (const fd of fds) this.#fds.push(fd);
  }

  /**
   * Returns the next complete frame, whose descriptors the caller owns; undefined while none is complete.
   * @throws Error the peer broke the format; DescriptorsLost descriptors of a frame of several messages were lost
   */
  next(): RawFrame | undefined {
    this.#header ??= this.#readHeader();
    // No byte of a next frame is here, so a descriptor that is left came with the frame before, which did not announce it.
    if (!this.#header) return this.#expectNoStray(this.#byteCount === 0 ? 0 : MAX_FRAME_FDS);
    const { length, type, fdCount } = this.#header;
    if (this.#byteCount < length) return this.#expectNoStray(fdCount);
    if (this.#isLost(this.#header)) {
      this.#header = undefined;
      return { type, payload: this.#take(length), fds: new Int32Array(0), isLost: true };
    }
    // Descriptors arrive with the first byte of their message (FACTS K5), so none can follow the last byte of the frame.
    if (this.#fds.length < fdCount)
      throw new Error(`frame with ${this.#fds.length} descriptors: it announced ${fdCount}`);
    this.#header = undefined;
    return { type, payload: this.#take(length), fds: Int32Array.from(this.#fds.splice(0, fdCount)) };
  }

  /** True between two frames: no byte and no descriptor waits. */
  get isEmpty(): boolean {
    return this.#byteCount === 0 && this.#fds.length === 0 && this.#header === undefined;
  }

  /** Drops the incomplete frame and returns its descriptors, which the caller owns. */
  release(): Int32Array {
    this.#chunks = [];
    this.#byteCount = 0;
    this.#header = undefined;
    return Int32Array.from(this.#fds.splice(0));
  }

  #readHeader(): Header | undefined {
    if (this.#byteCount < HEADER_BYTES) return undefined;
    const at = this.#taken;
    const bytes = this.#take(HEADER_BYTES);
    const header = { at, length: bytes.readUInt32BE(0), type: bytes.readUInt16BE(4), fdCount: bytes.readUInt16BE(6) };
    if (header.length > MAX_PAYLOAD_BYTES)
      throw new Error(`frame of ${header.length} bytes: the limit is ${MAX_PAYLOAD_BYTES}`);
    if (header.fdCount > MAX_FRAME_FDS)
      throw new Error(`frame with ${header.fdCount} descriptors: the limit is ${MAX_FRAME_FDS}`);
    return header;
  }

  /**
   * Whether the descriptors of this frame, which has one message, are lost. A read ends with the message that carries its
   * descriptors (FACTS K5), so of the frames that begin in one read only the last can have descriptors.
   * @throws DescriptorsLost the frame has several messages, and some of its descriptors are lost
   */
  #isLost({ at, length, fdCount }: Header): boolean {
    if (this.#lost.length === 0) return false;
    const end = this.#taken + length;
    const lost = this.#lost.filter(({ from, to }) => fdCount > 0 && from < end && to > at);
    this.#lost = this.#lost.filter(({ to }) => to > end);
    if (fdCount <= MAX_FDS_PER_MESSAGE) return lost.some(({ from }) => from <= at);
    if (lost.length > 0 && this.#fds.length < fdCount) throw new DescriptorsLost();
    return false;
  }

  /** Refuses descriptors beyond those that the frame being read announced: no byte of a later frame is here. */
  #expectNoStray(expected: number): undefined {
    if (this.#fds.length > expected) throw new Error(`${this.#fds.length - expected} descriptors belong to no frame`);
  }

  #take(length: number): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#byteCount -= length;
    this.#taken += length;
    this.#chunks = this.#byteCount > 0 ? [all.subarray(length)] : [];
    return all.subarray(0, length);
  }
}
