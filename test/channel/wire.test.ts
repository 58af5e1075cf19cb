// The wire format: every frame both ways, to the byte, and what a decoder must refuse.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeGo, decodeHeld, decodeOffer, encodeHeld, encodeOffer } from '../../lib/protocol/batches.js';
import {
  decodeFrame,
  encodeFrame,
  FRAMES,
  type FrameName,
  HEADER_BYTES,
  type Hello,
  MAX_FRAME_FDS,
  MAX_PAYLOAD_BYTES,
  negotiate,
  OPTIONAL_BIT,
  type RawFrame,
  type Role,
} from '../../lib/protocol/frames.js';
import { plain, thrownBy } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { rawFrame, SAMPLES, type Sample } from './frames.js';

expectNoLeaks();

const NO_FDS = new Int32Array(0);

const other = (role: Role): Role => (role === 'predecessor' ? 'successor' : 'predecessor');

/** Header and payload of encoded bytes, with the descriptors a channel would have put beside them. */
function split(bytes: Buffer): RawFrame {
  return {
    type: bytes.readUInt16BE(4),
    payload: bytes.subarray(HEADER_BYTES),
    fds: new Int32Array(bytes.readUInt16BE(6)),
  };
}

function encode({ name, payload, fdCount }: Sample): Buffer {
  return encodeFrame(name, payload as never, fdCount);
}

function raw(type: number, payload: Uint8Array | string): RawFrame {
  return { type, payload: Buffer.from(payload as Uint8Array), fds: NO_FDS };
}

describe('every frame', () => {
  test('has a sample', () => {
    expect([...new Set(SAMPLES.map(({ name }) => name))].sort()).toEqual(Object.keys(FRAMES).sort());
  });

  test('has a number of its own', () => {
    const types = Object.values(FRAMES).map(({ type }) => type & ~OPTIONAL_BIT);
    expect(new Set(types).size).toBe(types.length);
  });

  test.each(
    SAMPLES.map((sample) => [`${sample.name} from the ${sample.from}`, sample] as const),
  )('%s: what is encoded is decoded', (_, sample) => {
    const frame = decodeFrame(split(encode(sample)), other(sample.from));
    expect(frame).toEqual({ name: sample.name, payload: sample.payload, fds: new Int32Array(sample.fdCount) });
  });

  test.each(Object.entries(FRAMES).filter(([, { from }]) => from !== 'both'))('%s: only in its direction', (name, {
    from,
  }) => {
    const sample = SAMPLES.find((candidate) => candidate.name === name) as Sample;
    expect(() => decodeFrame(split(encode(sample)), from as Role)).toThrow(
      `${name} came from a ${other(from as Role)}`,
    );
  });
});

describe('G9: the frozen transcript of protocol version 1', () => {
  const transcript = readFileSync(new URL('transcripts/version-1.txt', import.meta.url), 'utf8');
  const lines = transcript
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', from = '', fdCount = '', hex = ''] = line.split(' ');
      return { name: name as FrameName, from: from as Role, fdCount: Number(fdCount), bytes: Buffer.from(hex, 'hex') };
    });

  test('holds every sample, in order', () => {
    expect(lines.map(({ name, from, fdCount }) => ({ name, from, fdCount }))).toEqual(
      SAMPLES.map(({ name, from, fdCount }) => ({ name, from, fdCount })),
    );
  });

  test.each(
    lines.map((line, i) => [`${i} ${line.name}`, line, SAMPLES[i] as Sample] as const),
  )('%s: encoded today it is these bytes, and these bytes are it', (_, { bytes, from, fdCount }, sample) => {
    expect(encode(sample).toString('hex')).toBe(bytes.toString('hex'));
    const frame = decodeFrame(split(bytes), other(from));
    expect(frame).toEqual({ name: sample.name, payload: sample.payload, fds: new Int32Array(fdCount) });
  });
});

describe('G9: what another version says', () => {
  const hello: Hello = { protocol: { min: 1, max: 1 }, generation: 1, pid: 1, version: '1.0.0', capabilities: [] };
  const speaking = (min: number, max: number): Hello => ({ ...hello, protocol: { min, max } });

  test('unknown fields are ignored, at every depth', () => {
    const payload = { entries: [{ name: 'a', kind: 'tcp', address: 'b', weight: 9 }], more: false, urgent: true };
    expect(decodeFrame(raw(2, JSON.stringify(payload)), 'successor')?.payload).toEqual({
      entries: [{ name: 'a', kind: 'tcp', address: 'b' }],
      more: false,
    });
    expect(decodeFrame(raw(4, '{"late":1}'), 'predecessor')?.payload).toEqual({});
  });

  test('a kind of listener that is not known is a kind as any other: it fails no MANIFEST', () => {
    const payload = { entries: [{ name: 'vm', kind: 'vsock', address: 'vsock://2:1024' }], more: false };
    expect(decodeFrame(raw(2, JSON.stringify(payload)), 'successor')?.payload).toEqual(payload);
  });

  test('an optional frame that is not known is passed over, a mandatory one refused', () => {
    expect(decodeFrame(raw(99 | OPTIONAL_BIT, 'anything'), 'successor')).toBeUndefined();
    expect(() => decodeFrame(raw(99, ''), 'successor')).toThrow('frame type 99 is not known');
    expect(() => decodeFrame(raw(0, ''), 'successor')).toThrow('frame type 0 is not known');
  });

  test('a verdict that is not known is a refusal', () => {
    expect(decodeHeld(Buffer.from([0, 0, 0, 1, 0, 2, 0, 77]))).toEqual({ batch: 1, verdicts: [0, 3] });
  });

  test.each([
    [1, 1, 1, 1, 1],
    [1, 3, 2, 5, 3],
    [2, 9, 1, 2, 2],
  ])('%i to %i and %i to %i speak %i', (min, max, theirMin, theirMax, version) => {
    expect(negotiate(speaking(min, max), speaking(theirMin, theirMax))).toBe(version);
    expect(negotiate(speaking(theirMin, theirMax), speaking(min, max))).toBe(version);
  });

  test('no common version is ERR_HANDOVER_VERSION and names both', () => {
    expect(thrownBy(() => negotiate(speaking(1, 1), { ...speaking(2, 4), version: '9.0.0' }))).toMatchObject({
      class: 'HandoverError',
      code: 'ERR_HANDOVER_VERSION',
      message: 'no common protocol version: this process speaks 1, the other one (handover 9.0.0) speaks 2 to 4',
      stillServing: true,
    });
  });
});

describe('malformed payloads are refused, and the place is named', () => {
  const manifest = { entries: [{ name: 'a', kind: 'tcp', address: 'b' }], more: false };

  test.each<[string, number, Role, string, string | RegExp]>([
    ['no JSON', 1, 'successor', '{', /^HELLO: .*JSON/],
    ['empty', 4, 'predecessor', '', /^READY: .*JSON/],
    ['null', 4, 'predecessor', 'null', 'READY: payload is not an object'],
    ['a number', 4, 'predecessor', '1', 'READY: payload is not an object'],
    [
      'a field missing',
      1,
      'successor',
      '{"protocol":{"min":1,"max":1}}',
      'HELLO: payload.generation is not a non-negative integer',
    ],
    [
      'a nested one',
      1,
      'successor',
      '{"protocol":{"min":1}}',
      'HELLO: payload.protocol.max is not a non-negative integer',
    ],
    ['a fraction', 11, 'successor', '{"batch":1.5}', 'ABORT: payload.batch is not a non-negative integer'],
    ['below zero', 11, 'successor', '{"batch":-1}', 'ABORT: payload.batch is not a non-negative integer'],
    [
      'beyond 2^53',
      11,
      'successor',
      '{"batch":9007199254740993}',
      'ABORT: payload.batch is not a non-negative integer',
    ],
    [
      'no list',
      2,
      'successor',
      JSON.stringify({ ...manifest, entries: {} }),
      'MANIFEST: payload.entries is not a list',
    ],
    [
      'one of a list',
      3,
      'predecessor',
      '{"claimed":["a",1],"unclaimed":[]}',
      'CLAIMED: payload.claimed[1] is not a string',
    ],
    [
      'no kind',
      2,
      'successor',
      JSON.stringify({ ...manifest, entries: [{ name: 'a', kind: 7, address: '' }] }),
      'MANIFEST: payload.entries[0].kind is not a string',
    ],
    ['no boolean', 2, 'successor', JSON.stringify({ ...manifest, more: 0 }), 'MANIFEST: payload.more is not a boolean'],
  ])('%s', (_, type, receiver, payload, message) => {
    expect(() => decodeFrame(raw(type, payload), receiver)).toThrow(message);
  });

  const offer = encodeOffer(SAMPLES.find(({ name }) => name === 'OFFER')?.payload as never);
  const held = encodeHeld({ batch: 1, verdicts: [0, 1, 2] });

  test('OFFER and HELD cut short at any byte, GO too', () => {
    for (let length = 0; length < offer.length; length++) {
      expect(() => decodeOffer(offer.subarray(0, length)), `${length} bytes`).toThrow('cut short');
    }
    for (let length = 0; length < held.length; length++) {
      expect(() => decodeHeld(held.subarray(0, length)), `${length} bytes`).toThrow('cut short');
    }
    expect(() => decodeGo(Buffer.alloc(3))).toThrow('cut short at byte 0');
  });

  test('bytes too many', () => {
    const more = Buffer.from([0, 0]);
    expect(() => decodeOffer(Buffer.concat([offer, more]))).toThrow('2 bytes too many');
    expect(() => decodeHeld(Buffer.concat([held, more]))).toThrow('2 bytes too many');
    expect(() => decodeGo(Buffer.alloc(5))).toThrow('1 bytes too many');
    expect(() => decodeFrame(raw(10, Buffer.alloc(5)), 'successor')).toThrow('GO: 1 bytes too many');
  });

  test('OFFER: a connection of a listener that is not in the list', () => {
    const bytes = Buffer.from('00000001' + '0000' + '0001' + '0000' + '00' + '00000000' + '00000000', 'hex');
    expect(() => decodeOffer(bytes)).toThrow('a connection names a listener that is not in the list');
  });

  test('OFFER: 65,535 connections announced in ten bytes cost no memory', () => {
    expect(() => decodeOffer(Buffer.from('00000001' + 'ffff' + 'ffff', 'hex'))).toThrow('cut short');
  });

  test('any bytes are decoded or refused by an Error, by every frame', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.constantFrom(...Object.values(FRAMES)),
        (bytes, { type, from }) => {
          try {
            const frame = decodeFrame(raw(type, bytes), from === 'predecessor' ? 'successor' : 'predecessor');
            expect(frame?.payload).toBeTypeOf('object');
          } catch (error) {
            expect(plain(error)).toMatchObject({ class: 'Error' });
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('any OFFER is decoded as it was encoded', () => {
    const bytes = fc.uint8Array({ maxLength: 20 }).map((array) => Buffer.from(array));
    const connection = fc.record({
      listener: fc.string({ unit: 'grapheme', maxLength: 12 }),
      protocol: fc.string({ maxLength: 9 }),
      head: bytes,
      state: bytes,
    });
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.array(connection, { maxLength: 12 }), (batch, connections) => {
        expect(decodeOffer(encodeOffer({ batch, connections }))).toEqual({ batch, connections });
      }),
    );
  });
});

describe('limits', () => {
  test('the payload and the number of descriptors of what is sent', () => {
    const reason = 'x'.repeat(MAX_PAYLOAD_BYTES);
    expect(() => encodeFrame('ABORT', { reason }, 0)).toThrow(
      `ABORT of ${MAX_PAYLOAD_BYTES + 13} bytes: the limit is ${MAX_PAYLOAD_BYTES}`,
    );
    expect(encodeFrame('ABORT', { reason: reason.slice(13) }, 0)).toHaveLength(HEADER_BYTES + MAX_PAYLOAD_BYTES);
    expect(() => encodeFrame('COMMIT', { entries: [], more: false }, MAX_FRAME_FDS + 1)).toThrow(
      'COMMIT with 2025 descriptors: the limit is 2024',
    );
  });

  test('a raw frame of the tests is what encodeFrame makes', () => {
    expect(rawFrame(4, '{}')).toEqual(encodeFrame('READY', {}, 0));
  });
});
