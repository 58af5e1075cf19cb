// Tracks where the frames of one direction of a WebSocket begin and end (RFC 6455 §5.2). Reads headers only, and counts
// payloads.

const FIN = 0x80;
const MASKED = 0x80;
const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** Two bytes, eight bytes of length, four bytes of mask. */
const MAX_HEADER_BYTES = 14;
const MAX_CONTROL_BYTES = 125;

type Whole = 'message' | 'ping' | 'pong' | 'part';

export class FrameTracker {
  /** Number of complete data messages, whatever their number of frames. */
  messages = 0;
  pings = 0;
  pongs = 0;
  /** Whether a close frame has begun. Frames after it are not counted. */
  hasClosed = false;
  /** Whether the bytes are no frames, or of an unknown extension: the tracker no longer knows the boundaries. */
  isBroken = false;
  /** The beginning of a header that has not come whole yet. */
  #header: Uint8Array | undefined;
  /** Bytes of the payload still to come. */
  #left = 0;
  /** What is complete at the end of this payload. */
  #whole: Whole = 'part';
  #isFragmented = false;

  /** Whether no frame is half done. */
  get isBetweenFrames(): boolean {
    return this.#left === 0 && this.#header === undefined && !this.isBroken;
  }

  /** Whether neither a frame nor a message is half done. */
  get isBetweenMessages(): boolean {
    return this.isBetweenFrames && !this.#isFragmented;
  }

  feed(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && !this.isBroken) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at);
        at += taken;
        this.#left -= taken;
        if (this.#left === 0) this.#count();
      } else if (this.hasClosed) return;
      else at += this.#begin(bytes, at);
    }
  }

  /** Reads a header, or the part of it that has come. Returns the number of these bytes that belong to it. */
  #begin(bytes: Uint8Array, at: number): number {
    const former = this.#header;
    const known = former?.length ?? 0;
    const header = former ? joined(former, bytes.subarray(at, at + MAX_HEADER_BYTES - known)) : bytes.subarray(at);
    const size = sizeOf(header);
    if (size === undefined || header.length < size) {
      // A copy, because a view would keep the much larger read buffer in memory.
      this.#header = Uint8Array.from(header);
      return header.length - known;
    }
    this.#header = undefined;
    this.#open(header[0] ?? 0, payloadOf(header));
    return size - known;
  }

  #open(first: number, length: number): void {
    const isFinal = (first & FIN) !== 0;
    const opcode = first & 0x0f;
    if (opcode >= OPCODE.close) {
      if (opcode > OPCODE.pong || !isFinal || length > MAX_CONTROL_BYTES) this.isBroken = true;
      this.hasClosed = opcode === OPCODE.close;
      this.#whole = opcode === OPCODE.ping ? 'ping' : opcode === OPCODE.pong ? 'pong' : 'part';
    } else {
      const continues = opcode === OPCODE.continuation;
      if (opcode > OPCODE.binary || continues !== this.#isFragmented || !Number.isSafeInteger(length)) {
        this.isBroken = true;
      }
      this.#isFragmented = !isFinal;
      this.#whole = isFinal ? 'message' : 'part';
    }
    this.#left = length;
    if (length === 0) this.#count();
  }

  #count(): void {
    if (this.#whole === 'message') this.messages += 1;
    if (this.#whole === 'ping') this.pings += 1;
    if (this.#whole === 'pong') this.pongs += 1;
  }
}

function joined(before: Uint8Array, after: Uint8Array): Uint8Array {
  const both = new Uint8Array(before.length + after.length);
  both.set(before);
  both.set(after, before.length);
  return both;
}

/** Bytes of a header; undefined until its second byte has come. */
function sizeOf(header: Uint8Array): number | undefined {
  const second = header[1];
  if (second === undefined) return undefined;
  const length = second & 0x7f;
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + ((second & MASKED) !== 0 ? 4 : 0);
}

function payloadOf(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const length = view.getUint8(1) & 0x7f;
  if (length === 126) return view.getUint16(2);
  return length === 127 ? Number(view.getBigUint64(2)) : length;
}
