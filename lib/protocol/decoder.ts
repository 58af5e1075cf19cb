// Cuts a stream of reads into frames. Two queues, bytes and descriptors, because the kernel attaches descriptors to a
// read and not to a message (FACTS K5): a frame is complete when both have enough.
import { MAX_FDS_PER_MESSAGE } from '../fd/index.js';
import { HEADER_BYTES, MAX_FRAME_FDS, MAX_PAYLOAD_BYTES, type RawFrame } from './frames.js';

/** Some of the descriptors of a frame have come, and for others there was no room. */
export class DescriptorsLost extends Error {
  /** As recvmsg(2) says it here. */
  readonly code = 'ENOBUFS';
}

interface Header {
  /** Where it stands in the stream. */
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
  /** Reads of which the descriptors were lost, by their place in the stream; none of what has been taken. */
  #lost: { readonly from: number; readonly to: number }[] = [];

  /**
   * Takes what one read gave; the descriptors are this decoder's until a frame or `release()` gives them out. `isLost`: the
   * read had descriptors for which there was no room.
   */
  push(bytes: Buffer, fds: Int32Array, isLost = false): void {
    const from = this.#taken + this.#byteCount;
    if (isLost) this.#lost.push({ from, to: from + bytes.length });
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
    if (this.#isLost(this.#header)) {
      this.#header = undefined;
      return { type, payload: this.#take(length), fds: new Int32Array(0), isLost: true };
    }
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
   * A read ends with the message that carries its descriptors (FACTS K5), so of the frames that have some only the last one
   * that begins in a read has those of that read. One of many messages is lost with any of them.
   * @throws Error it has come in part
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

  /** Descriptors beyond what the frame being read announced have no owner: nothing after its bytes has come yet. */
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
