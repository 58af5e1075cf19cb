// Binary payloads of OFFER, HELD and GO. They carry thousands of small records, which would cost more as JSON than their
// descriptors do. All integers are big-endian.

/** One live connection on offer; its descriptor is the frame's descriptor of the same index. */
export interface OfferedConnection {
  /** Name of the ledger entry whose listener accepted it. */
  readonly listener: string;
  /** Name of its protocol, for example `http1`. A successor that does not know the protocol refuses this one connection. */
  readonly protocol: string;
  /** Bytes that the predecessor has read from the connection and not consumed. */
  readonly head: Uint8Array;
  /** State of the connection in the encoding of its protocol. */
  readonly state: Uint8Array;
}

export interface Offer {
  readonly batch: number;
  readonly connections: readonly OfferedConnection[];
}

/**
 * The successor's answer for one connection of a batch. `noRoom`: the successor has no free descriptor now, and the
 * predecessor may offer the connection again; older versions take `noRoom` for `refused`.
 */
export const VERDICT = { held: 0, unknownListener: 1, unknownProtocol: 2, refused: 3, noRoom: 4 } as const;
export type Verdict = (typeof VERDICT)[keyof typeof VERDICT];

export interface Held {
  readonly batch: number;
  readonly verdicts: readonly Verdict[];
}

/** Writes fields into one buffer of the final length: a buffer for each of thousands of fields costs more than its content. */
class Writer {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(length: number) {
    this.#bytes = Buffer.allocUnsafe(length);
  }

  u8(value: number): this {
    this.#at = this.#bytes.writeUInt8(value, this.#at);
    return this;
  }

  u16(value: number): this {
    this.#at = this.#bytes.writeUInt16BE(value, this.#at);
    return this;
  }

  u32(value: number): this {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
    return this;
  }

  raw(bytes: Uint8Array): this {
    if (bytes.length > 0) this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  finish(): Buffer {
    return this.#bytes;
  }
}

const NOTHING = Buffer.alloc(0);

/** Reads fields. Each method throws a plain Error where the field reaches past the end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  raw(length: number): Buffer {
    const at = this.#advance(length);
    return length === 0 ? NOTHING : this.#bytes.subarray(at, at + length);
  }

  text(length: number): string {
    const at = this.#advance(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  finish(): void {
    if (this.#at !== this.#bytes.length) throw new Error(`${this.#bytes.length - this.#at} bytes too many`);
  }

  #advance(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new Error(`cut short at byte ${at}`);
    this.#at += length;
    return at;
  }
}

/** `u32 batch · u16 listeners · (u16 length · name)* · u16 connections · (u16 listener · u8 length · protocol · u32 length · head · u32 length · state)*` */
export function encodeOffer({ batch, connections }: Offer): Buffer {
  const listeners = table(connections.map(({ listener }) => listener));
  const protocols = table(connections.map(({ protocol }) => protocol));
  let length = 4 + 2 + 2;
  for (const { bytes } of listeners.values()) length += 2 + bytes.length;
  for (const { protocol, head, state } of connections) {
    length += 2 + 1 + (protocols.get(protocol)?.bytes.length ?? 0) + 4 + head.length + 4 + state.length;
  }
  const writer = new Writer(length).u32(batch).u16(listeners.size);
  for (const { bytes } of listeners.values()) writer.u16(bytes.length).raw(bytes);
  writer.u16(connections.length);
  for (const { listener, protocol, head, state } of connections) {
    const kind = protocols.get(protocol)?.bytes ?? NOTHING;
    writer
      .u16(listeners.get(listener)?.index ?? 0)
      .u8(kind.length)
      .raw(kind);
    writer.u32(head.length).raw(head).u32(state.length).raw(state);
  }
  return writer.finish();
}

/** Gives each distinct name an index, in the order of first use. */
function table(names: readonly string[]): ReadonlyMap<string, { readonly index: number; readonly bytes: Buffer }> {
  return new Map([...new Set(names)].map((name, index) => [name, { index, bytes: Buffer.from(name) }]));
}

export function decodeOffer(payload: Buffer): Offer {
  const reader = new Reader(payload);
  const batch = reader.u32();
  const names = Array.from({ length: reader.u16() }, () => reader.text(reader.u16()));
  const connections = Array.from({ length: reader.u16() }, () => {
    const listener = names[reader.u16()];
    if (listener === undefined) throw new Error('a connection names a listener that is not in the list');
    const protocol = reader.text(reader.u8());
    return { listener, protocol, head: reader.raw(reader.u32()), state: reader.raw(reader.u32()) };
  });
  reader.finish();
  return { batch, connections };
}

/** `u32 batch · u16 connections · (u8 verdict)*` */
export function encodeHeld({ batch, verdicts }: Held): Buffer {
  return new Writer(6 + verdicts.length).u32(batch).u16(verdicts.length).raw(Uint8Array.from(verdicts)).finish();
}

/** A verdict that only a newer version knows counts as `refused`. */
export function decodeHeld(payload: Buffer): Held {
  const reader = new Reader(payload);
  const batch = reader.u32();
  const verdicts = [...reader.raw(reader.u16())].map((verdict) =>
    verdict <= VERDICT.noRoom ? (verdict as Verdict) : VERDICT.refused,
  );
  reader.finish();
  return { batch, verdicts };
}

/** `u32 batch` */
export function encodeGo({ batch }: { readonly batch: number }): Buffer {
  return new Writer(4).u32(batch).finish();
}

export function decodeGo(payload: Buffer): { readonly batch: number } {
  const reader = new Reader(payload);
  const batch = reader.u32();
  reader.finish();
  return { batch };
}
