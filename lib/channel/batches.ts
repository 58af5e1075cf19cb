// Binary payloads of the connection transfer: OFFER, HELD and GO carry thousands of small records, where JSON would
// cost more than the descriptors do. All integers are big-endian.

/** One live connection on offer; its descriptor is the frame's descriptor of the same index. */
export interface OfferedConnection {
  /** Name of the ledger entry whose listener accepted it. */
  readonly listener: string;
  /** What speaks on it, for example `http1`. A successor that does not know it refuses this one connection. */
  readonly protocol: string;
  /** Bytes the predecessor had read and not consumed. */
  readonly head: Uint8Array;
  /** What the protocol exported. */
  readonly state: Uint8Array;
}

export interface Offer {
  readonly batch: number;
  readonly connections: readonly OfferedConnection[];
}

/** The successor's answer for each connection of a batch. */
export const VERDICT = { held: 0, unknownListener: 1, unknownProtocol: 2, refused: 3 } as const;
export type Verdict = (typeof VERDICT)[keyof typeof VERDICT];

export interface Held {
  readonly batch: number;
  readonly verdicts: readonly Verdict[];
}

class Writer {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    return this.raw(Uint8Array.of(value));
  }

  u16(value: number): this {
    return this.raw(Uint8Array.of(value >> 8, value));
  }

  u32(value: number): this {
    return this.raw(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Throws a plain Error when a field would reach past the end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.raw(1).readUInt8();
  }

  u16(): number {
    return this.raw(2).readUInt16BE();
  }

  u32(): number {
    return this.raw(4).readUInt32BE();
  }

  raw(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new Error(`cut short at byte ${this.#at}`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(length: number): string {
    return this.raw(length).toString('utf8');
  }

  finish(): void {
    if (this.#at !== this.#bytes.length) throw new Error(`${this.#bytes.length - this.#at} bytes too many`);
  }
}

/** `u32 batch · u16 listeners · (u16 length · name)* · u16 connections · (u16 listener · u8 length · protocol · u32 length · head · u32 length · state)*` */
export function encodeOffer({ batch, connections }: Offer): Buffer {
  const names = [...new Set(connections.map(({ listener }) => listener))];
  const indexOf = new Map(names.map((name, index) => [name, index]));
  const writer = new Writer().u32(batch).u16(names.length);
  for (const name of names) {
    const bytes = Buffer.from(name);
    writer.u16(bytes.length).raw(bytes);
  }
  writer.u16(connections.length);
  for (const { listener, protocol, head, state } of connections) {
    const kind = Buffer.from(protocol);
    writer
      .u16(indexOf.get(listener) ?? 0)
      .u8(kind.length)
      .raw(kind);
    writer.u32(head.length).raw(head).u32(state.length).raw(state);
  }
  return writer.finish();
}

export function decodeOffer(payload: Buffer): Offer {
  const reader = new Reader(payload);
  const batch = reader.u32();
  const names = Array.from({ length: reader.u16() }, () => reader.text(reader.u16()));
  const connections = Array.from({ length: reader.u16() }, () => {
    const listener = names[reader.u16()];
    if (listener === undefined) throw new Error('a connection names no listener of the list');
    const protocol = reader.text(reader.u8());
    return { listener, protocol, head: reader.raw(reader.u32()), state: reader.raw(reader.u32()) };
  });
  reader.finish();
  return { batch, connections };
}

/** `u32 batch · u16 connections · (u8 verdict)*` */
export function encodeHeld({ batch, verdicts }: Held): Buffer {
  return new Writer().u32(batch).u16(verdicts.length).raw(Uint8Array.from(verdicts)).finish();
}

/** A verdict this version does not know is a refusal. */
export function decodeHeld(payload: Buffer): Held {
  const reader = new Reader(payload);
  const batch = reader.u32();
  const verdicts = [...reader.raw(reader.u16())].map((verdict) =>
    verdict <= VERDICT.refused ? (verdict as Verdict) : VERDICT.refused,
  );
  reader.finish();
  return { batch, verdicts };
}

/** `u32 batch` */
export function encodeGo({ batch }: { readonly batch: number }): Buffer {
  return new Writer().u32(batch).finish();
}

export function decodeGo(payload: Buffer): { readonly batch: number } {
  const reader = new Reader(payload);
  const batch = reader.u32();
  reader.finish();
  return { batch };
}
