// Cutting a stream of reads into frames: at every byte, several at once, descriptors early or astray.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameDecoder } from '../../lib/protocol/decoder.js';
import { encodeFrame, MAX_FRAME_FDS, MAX_PAYLOAD_BYTES, type RawFrame } from '../../lib/protocol/frames.js';
import { rawFrame, SAMPLES } from './frames.js';

// Numbers only: a decoder never touches a descriptor, so these need not be open.
const NO_FDS = new Int32Array(0);

function allOf(decoder: FrameDecoder): RawFrame[] {
  const frames: RawFrame[] = [];
  for (let frame = decoder.next(); frame; frame = decoder.next()) frames.push(frame);
  return frames;
}

const encoded = SAMPLES.map(({ name, payload, fdCount }) => encodeFrame(name, payload as never, fdCount));

describe('whole frames from any reads', () => {
  test('every sample, split at every byte; its descriptors come with the first', () => {
    for (const [index, bytes] of encoded.entries()) {
      const { fdCount } = SAMPLES[index] as { fdCount: number };
      const fds = Int32Array.from({ length: fdCount }, (_, i) => 100 + i);
      for (let at = 1; at < bytes.length; at++) {
        const decoder = new FrameDecoder();
        decoder.push(bytes.subarray(0, at), fds);
        expect(decoder.next()).toBeUndefined();
        expect(decoder.isEmpty).toBe(false);
        decoder.push(bytes.subarray(at), NO_FDS);
        const [frame, ...more] = allOf(decoder);
        expect(frame?.fds).toEqual(fds);
        expect(frame?.payload).toEqual(bytes.subarray(8));
        expect(more).toEqual([]);
        expect(decoder.isEmpty).toBe(true);
      }
    }
  });

  test('byte by byte, and all at once', () => {
    const stream = Buffer.concat(encoded);
    const fds = Int32Array.from({ length: SAMPLES.reduce((sum, { fdCount }) => sum + fdCount, 0) }, (_, i) => i);
    const whole = new FrameDecoder();
    whole.push(stream, fds);
    const frames = allOf(whole);
    expect(frames).toHaveLength(SAMPLES.length);
    expect(frames.map((frame) => frame.fds.length)).toEqual(SAMPLES.map(({ fdCount }) => fdCount));
    expect(frames.flatMap((frame) => [...frame.fds])).toEqual([...fds]);

    const single = new FrameDecoder();
    const again: RawFrame[] = [];
    let next = 0;
    for (const [index, bytes] of encoded.entries()) {
      const count = SAMPLES[index]?.fdCount ?? 0;
      for (let at = 0; at < bytes.length; at++) {
        single.push(bytes.subarray(at, at + 1), at === 0 ? fds.subarray(next, next + count) : NO_FDS);
        again.push(...allOf(single));
      }
      next += count;
    }
    expect(again).toEqual(frames);
  });

  test('K5: one read gives the end of one frame and the whole next with its descriptors', () => {
    const decoder = new FrameDecoder();
    decoder.push(Buffer.concat([rawFrame(4, '{}'), rawFrame(2, 'abc', 2)]), Int32Array.of(5, 6));
    expect(allOf(decoder).map(({ type, fds }) => [type, [...fds]])).toEqual([
      [4, []],
      [2, [5, 6]],
    ]);
  });

  test('descriptors that take several messages come with several reads', () => {
    const decoder = new FrameDecoder();
    const bytes = rawFrame(2, 'abc', 5);
    decoder.push(bytes.subarray(0, 1), Int32Array.of(1, 2));
    decoder.push(bytes.subarray(1, 2), Int32Array.of(3, 4));
    expect(decoder.next()).toBeUndefined();
    decoder.push(bytes.subarray(2), Int32Array.of(5));
    expect([...(decoder.next()?.fds ?? [])]).toEqual([1, 2, 3, 4, 5]);
  });

  test('K3: of the frames that begin in a read without its descriptors, it is the last one that has lost them', () => {
    const decoder = new FrameDecoder();
    const one = rawFrame(8, 'a'.repeat(40), 2);
    const two = rawFrame(8, 'b'.repeat(40), 3);
    const lost = (): unknown[] =>
      allOf(decoder).map(({ payload, fds, isLost }) => [`${payload}`[0], fds.length, isLost]);
    // Its end comes with the beginning of the next.
    decoder.push(Buffer.concat([rawFrame(4, '{}'), one.subarray(0, 20)]), Int32Array.of(1, 2));
    expect(lost()).toEqual([['{', 0, undefined]]);
    decoder.push(Buffer.concat([one.subarray(20), two.subarray(0, 20)]), NO_FDS, true);
    expect(lost()).toEqual([['a', 2, undefined]]);
    decoder.push(Buffer.concat([two.subarray(20), rawFrame(4, '{}'), one]), Int32Array.of(3, 4));
    expect(lost()).toEqual([
      ['b', 0, true],
      ['{', 0, undefined],
      ['a', 2, undefined],
    ]);
    // Cut in its header.
    decoder.push(one.subarray(0, 3), NO_FDS, true);
    decoder.push(one.subarray(3), NO_FDS);
    decoder.push(two, NO_FDS, true);
    expect(lost()).toEqual([
      ['a', 0, true],
      ['b', 0, true],
    ]);
    expect(decoder.isEmpty).toBe(true);
  });

  test('K3: a frame of several messages that has lost one of them is refused', () => {
    const decoder = new FrameDecoder();
    const bytes = rawFrame(2, 'abc', 300);
    decoder.push(
      bytes.subarray(0, 1),
      Int32Array.from({ length: 253 }, (_, i) => i),
    );
    decoder.push(bytes.subarray(1), NO_FDS, true);
    expect(() => decoder.next()).toThrow(expect.objectContaining({ code: 'ENOBUFS' }));
  });

  test('any frames, cut anywhere', () => {
    const frame = fc.record({ payload: fc.uint8Array({ maxLength: 30 }), fdCount: fc.nat(4) });
    fc.assert(
      fc.property(
        fc.array(frame, { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        (frames, cuts) => {
          const decoder = new FrameDecoder();
          const out: RawFrame[] = [];
          let fd = 0;
          for (const { payload, fdCount } of frames) {
            let rest = rawFrame(1, payload, fdCount);
            // The kernel gives the descriptors with the first byte of the message that carried them.
            let fds = Int32Array.from({ length: fdCount }, () => fd++);
            while (rest.length > 0) {
              const cut = cuts.next().value as number;
              decoder.push(rest.subarray(0, cut), fds);
              rest = rest.subarray(cut);
              fds = NO_FDS;
              out.push(...allOf(decoder));
            }
          }
          expect(out.map(({ payload }) => [...payload])).toEqual(frames.map(({ payload }) => [...payload]));
          expect(out.flatMap(({ fds }) => [...fds])).toEqual(Array.from({ length: fd }, (_, i) => i));
          expect(decoder.isEmpty).toBe(true);
        },
      ),
    );
  });
});

describe('limits and strays', () => {
  test('a payload too long, before any of it has come', () => {
    const decoder = new FrameDecoder();
    decoder.push(rawFrame(1, '', 0, MAX_PAYLOAD_BYTES + 1), NO_FDS);
    expect(() => decoder.next()).toThrow(`frame of ${MAX_PAYLOAD_BYTES + 1} bytes: the limit is ${MAX_PAYLOAD_BYTES}`);
    const atLimit = new FrameDecoder();
    atLimit.push(rawFrame(1, '', 0, MAX_PAYLOAD_BYTES), NO_FDS);
    expect(atLimit.next()).toBeUndefined();
  });

  test('too many descriptors announced', () => {
    const decoder = new FrameDecoder();
    decoder.push(rawFrame(1, '', MAX_FRAME_FDS + 1), NO_FDS);
    expect(() => decoder.next()).toThrow('frame with 2025 descriptors: the limit is 2024');
  });

  test('too many with a header that has not come yet', () => {
    const decoder = new FrameDecoder();
    decoder.push(Buffer.alloc(1), new Int32Array(MAX_FRAME_FDS + 1));
    expect(() => decoder.next()).toThrow('1 descriptors belong to no frame');
    expect(decoder.release()).toHaveLength(MAX_FRAME_FDS + 1);
  });

  test('more than the frame being read announced', () => {
    const decoder = new FrameDecoder();
    decoder.push(rawFrame(1, 'half', 1, 8), Int32Array.of(1, 2, 3));
    expect(() => decoder.next()).toThrow('2 descriptors belong to no frame');
    expect([...decoder.release()]).toEqual([1, 2, 3]);
  });

  test('surplus behind a whole frame, which is delivered: they are not the next one’s', () => {
    const decoder = new FrameDecoder();
    decoder.push(rawFrame(1, 'abc', 1), Int32Array.of(1, 2));
    expect([...(decoder.next()?.fds ?? [])]).toEqual([1]);
    expect(() => decoder.next()).toThrow('1 descriptors belong to no frame');
    expect([...decoder.release()]).toEqual([2]);
  });

  test('release gives everything out once', () => {
    const decoder = new FrameDecoder();
    decoder.push(rawFrame(1, 'ab', 3, 8), Int32Array.of(7, 8));
    expect(decoder.next()).toBeUndefined();
    expect([...decoder.release()]).toEqual([7, 8]);
    expect([...decoder.release()]).toEqual([]);
    expect(decoder.isEmpty).toBe(true);
  });
});
