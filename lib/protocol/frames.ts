// The wire format, without input and output: the frames of protocol version 1 in one table, each with its number, direction
// and payload.
import { HandoverError } from '../errors.js';
import type { ReleaseName } from '../events.js';
import {
  decodeGo,
  decodeHeld,
  decodeOffer,
  encodeGo,
  encodeHeld,
  encodeOffer,
  type Held,
  type Offer,
} from './batches.js';
import { boolean, integer, list, optional, record, type Schema, string } from './schema.js';

/** The protocol versions this code speaks. Both sides announce theirs in HELLO and use the highest common one. */
export const PROTOCOL = { min: 1, max: 1 } as const;

/** `u32 length of the payload · u16 type · u16 descriptors`, big-endian. */
export const HEADER_BYTES = 8;
export const MAX_PAYLOAD_BYTES: number = 16 * 1024 * 1024;
/** A message carries 253 descriptors and needs one byte (FACTS K1, K2): the eight bytes of the header are eight messages. */
export const MAX_FRAME_FDS: number = HEADER_BYTES * 253;
/** Set in the type of an optional frame: a peer that does not know the type ignores the frame. */
export const OPTIONAL_BIT = 0x8000;

/** The two ends of a channel. */
export type Role = 'predecessor' | 'successor';

/** One entry of a MANIFEST or COMMIT. Its descriptor is the frame's descriptor of the same index. */
export interface ManifestEntry {
  readonly name: string;
  /** `blob`, `descriptor`, or a kind of listener (endpoints/kinds.ts). A newer release may have kinds unknown to this one. */
  readonly kind: string;
  /** The address that the app asked for, in canonical form. The successor claims the entry by an equal text only. */
  readonly address: string;
  /** Device and inode of a Unix path when it was bound: a process removes the path later only if it is still that file. */
  readonly file?: string | undefined;
  /** A listener that the successor need not claim: the predecessor then accepts on it for as long as it drains. */
  readonly isOptional?: boolean | undefined;
}

export interface Manifest {
  readonly entries: readonly ManifestEntry[];
  /** Another frame of this type continues the list. */
  readonly more: boolean;
  /** The successor must not accept before COMMIT. Absent in COMMIT. */
  readonly standby?: boolean | undefined;
}

/** What the successor did with the entries of the MANIFEST. */
export interface Claims {
  /** Names of the claimed entries. */
  readonly claimed: readonly string[];
  /** Names of the listeners that the successor did not claim. */
  readonly unclaimed: readonly string[];
  /** Listeners that the successor bound itself; absent where there are none, and from older versions. */
  readonly bound?: readonly { readonly name: string; readonly address: string }[] | undefined;
  /** Names of the unclaimed listeners that the successor leaves on purpose; absent from older versions. */
  readonly left?: readonly string[] | undefined;
}

export interface Hello {
  readonly protocol: { readonly min: number; readonly max: number };
  readonly generation: number;
  readonly pid: number;
  /** Start time of the process in clock ticks since boot (proc_pid_stat(5)): with the pid it names one process. */
  readonly startTime?: string | undefined;
  /** Version of the package, for logs only. */
  readonly version: string;
  readonly capabilities: readonly string[];
  /** Id of this handover, which the predecessor makes; absent from older versions, and from the successor. */
  readonly handoverId?: string | undefined;
  /** The release that the process runs, for records only. */
  readonly release?: Partial<ReleaseName> | undefined;
}

/** The outcome of a handover that has ended, for the metrics and records of the successor. */
export interface EndedHandover {
  readonly handoverId: string;
  readonly generation: number;
  readonly result: string;
  readonly code?: string | undefined;
  readonly durationMicros: number;
  readonly phases: readonly { readonly name: string; readonly startedAt: number; readonly durationMicros: number }[];
  readonly moved: number;
  readonly ended: number;
  readonly cut: number;
}

/** The highest version that both processes speak. @throws ERR_HANDOVER_VERSION there is none */
export function negotiate(mine: Hello, theirs: Hello): number {
  const version = Math.min(mine.protocol.max, theirs.protocol.max);
  if (version >= Math.max(mine.protocol.min, theirs.protocol.min)) return version;
  const say = ({ protocol: { min, max } }: Hello): string => (min === max ? `${min}` : `${min} to ${max}`);
  const message = `no common protocol version: this process speaks ${say(mine)}, the other one (handover ${theirs.version}) speaks ${say(theirs)}`;
  throw new HandoverError('ERR_HANDOVER_VERSION', message, { stillServing: true });
}

/** An older generation that still drains. */
export interface DrainingGeneration {
  readonly generation: number;
  readonly pid: number;
  /** As in {@link Hello}. */
  readonly startTime?: string | undefined;
  /** Milliseconds since it was superseded. */
  readonly age: number;
  readonly connections: number;
}

/** From the successor: a sign of life. From a draining predecessor: its connections, and the older generations that drain. */
export interface Heartbeat {
  readonly healthy?: boolean | undefined;
  readonly connections?: number | undefined;
  /** From the successor: migrated connections that it has adopted. It had not read GO of any others when it sent this. */
  readonly adopted?: number | undefined;
  readonly draining?: readonly DrainingGeneration[] | undefined;
  /** From the successor, in some heartbeats: the number of connections that it has descriptors for. */
  readonly room?: number | undefined;
}

/** The payload of each frame. */
export interface Payloads {
  HELLO: Hello;
  MANIFEST: Manifest;
  CLAIMED: Claims;
  /** `room`: connections that the successor has descriptors for; absent where it cannot count, and from older versions. */
  READY: { readonly room?: number | undefined };
  HEARTBEAT: Heartbeat;
  COMMIT: Manifest;
  COMMITTED: Nothing;
  OFFER: Offer;
  HELD: Held;
  GO: { readonly batch: number };
  /** With `batch`: takes one batch back, or refuses it. Without: gives up the whole handover. */
  ABORT: {
    readonly batch?: number | undefined;
    readonly code?: string | undefined;
    readonly reason?: string | undefined;
  };
  /** Outcomes of this handover, and of those of older generations that ended while the predecessor drained. */
  RETIRE: { readonly outcomes?: readonly EndedHandover[] | undefined };
}

export type Nothing = Readonly<Record<never, never>>;
export type FrameName = keyof Payloads;

const nothing: Schema<Nothing> = record({});

const manifest: Schema<Manifest> = record({
  entries: list(
    record({
      name: string,
      kind: string,
      address: string,
      file: optional(string),
      isOptional: optional(boolean),
    }),
  ),
  more: boolean,
  standby: optional(boolean),
});

const hello: Schema<Hello> = record({
  protocol: record({ min: integer, max: integer }),
  generation: integer,
  pid: integer,
  startTime: optional(string),
  version: string,
  capabilities: list(string),
  handoverId: optional(string),
  release: optional(record({ entry: optional(string), version: optional(string) })),
});

const claimed: Schema<Payloads['CLAIMED']> = record({
  claimed: list(string),
  unclaimed: list(string),
  bound: optional(list(record({ name: string, address: string }))),
  left: optional(list(string)),
});

const heartbeat: Schema<Heartbeat> = record({
  healthy: optional(boolean),
  connections: optional(integer),
  adopted: optional(integer),
  draining: optional(
    list(
      record({
        generation: integer,
        pid: integer,
        startTime: optional(string),
        age: integer,
        connections: integer,
      }),
    ),
  ),
  room: optional(integer),
});

const ready: Schema<Payloads['READY']> = record({ room: optional(integer) });

const abort: Schema<Payloads['ABORT']> = record({
  batch: optional(integer),
  code: optional(string),
  reason: optional(string),
});

const retire: Schema<Payloads['RETIRE']> = record({
  outcomes: optional(
    list(
      record({
        handoverId: string,
        generation: integer,
        result: string,
        code: optional(string),
        durationMicros: integer,
        phases: list(record({ name: string, startedAt: integer, durationMicros: integer })),
        moved: integer,
        ended: integer,
        cut: integer,
      }),
    ),
  ),
});

interface Codec<T> {
  readonly encode: (payload: T) => Buffer;
  readonly decode: (bytes: Buffer) => T;
}

function json<T>(schema: Schema<T>): Codec<T> {
  return {
    encode: (payload) => Buffer.from(JSON.stringify(payload)),
    decode: (bytes) => schema(JSON.parse(bytes.toString('utf8')), 'payload'),
  };
}

interface Definition<T> extends Codec<T> {
  readonly type: number;
  readonly from: Role | 'both';
}

/** Every frame of version 1. Numbers and payloads are frozen: test/channel/transcripts holds their bytes. */
export const FRAMES: { readonly [N in FrameName]: Definition<Payloads[N]> } = {
  HELLO: { type: 1, from: 'both', ...json(hello) },
  MANIFEST: { type: 2, from: 'predecessor', ...json(manifest) },
  CLAIMED: { type: 3, from: 'successor', ...json(claimed) },
  READY: { type: 4, from: 'successor', ...json(ready) },
  HEARTBEAT: { type: 5 | OPTIONAL_BIT, from: 'both', ...json(heartbeat) },
  COMMIT: { type: 6, from: 'predecessor', ...json(manifest) },
  COMMITTED: { type: 7, from: 'successor', ...json(nothing) },
  OFFER: { type: 8, from: 'predecessor', encode: encodeOffer, decode: decodeOffer },
  HELD: { type: 9, from: 'successor', encode: encodeHeld, decode: decodeHeld },
  GO: { type: 10, from: 'predecessor', encode: encodeGo, decode: decodeGo },
  ABORT: { type: 11, from: 'both', ...json(abort) },
  RETIRE: { type: 12, from: 'predecessor', ...json(retire) },
};

/** A frame with its descriptors. The holder of this object owns them. */
export type Frame = {
  [N in FrameName]: {
    readonly name: N;
    readonly payload: Payloads[N];
    readonly fds: Int32Array;
    /** The descriptors did not fit into the descriptor table of this process: `fds` is empty. The sender has its copies still. */
    readonly isLost?: boolean;
  };
}[FrameName];

/** A frame whose payload is not decoded yet. The holder of this object owns its descriptors. */
export interface RawFrame {
  readonly type: number;
  readonly payload: Buffer;
  readonly fds: Int32Array;
  /** As in {@link Frame}. */
  readonly isLost?: boolean;
}

const NAMES = new Map<number, FrameName>(Object.entries(FRAMES).map(([name, { type }]) => [type, name as FrameName]));

/** The bytes of a frame. @throws Error the frame exceeds a limit of the format */
export function encodeFrame<N extends FrameName>(name: N, payload: Payloads[N], fdCount: number): Buffer {
  const { type, encode } = FRAMES[name];
  const body = encode(payload);
  if (body.length > MAX_PAYLOAD_BYTES)
    throw new Error(`${name} of ${body.length} bytes: the limit is ${MAX_PAYLOAD_BYTES}`);
  if (fdCount > MAX_FRAME_FDS) throw new Error(`${name} with ${fdCount} descriptors: the limit is ${MAX_FRAME_FDS}`);
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(body.length, 0);
  header.writeUInt16BE(type, 4);
  header.writeUInt16BE(fdCount, 6);
  return Buffer.concat([header, body]);
}

/**
 * Decodes a frame that `receiver` received. Undefined: an optional frame that this version does not know; the caller closes
 * its descriptors.
 * @throws Error the peer broke the format; the message says how
 */
export function decodeFrame(raw: RawFrame, receiver: Role): Frame | undefined {
  const name = NAMES.get(raw.type);
  if (name === undefined) {
    if (raw.type & OPTIONAL_BIT) return undefined;
    throw new Error(`frame type ${raw.type} is not known`);
  }
  const { from, decode } = FRAMES[name];
  if (from === receiver)
    throw new Error(`${name} came from a ${receiver === 'predecessor' ? 'successor' : 'predecessor'}`);
  try {
    return { name, payload: decode(raw.payload), fds: raw.fds, ...(raw.isLost && { isLost: true }) } as Frame;
  } catch (cause) {
    throw new Error(`${name}: ${(cause as Error).message}`, { cause });
  }
}
