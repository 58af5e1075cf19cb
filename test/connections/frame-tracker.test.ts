// G3: the boundary tracker against the frames of `ws` itself, cut at random bytes: it knows when nothing is half read.
import { Duplex, type Writable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as ws from 'ws';
import { FrameTracker } from '../../lib/protocols/websocket/frame-tracker.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const { Receiver, Sender } = ws as unknown as {
  readonly Receiver: new (options: object) => Writable;
  readonly Sender: new (socket: Duplex) => FrameSender;
};

interface FrameSender {
  send(data: Buffer, options: object): void;
  ping(data: Buffer, mask: boolean): void;
  pong(data: Buffer, mask: boolean): void;
  close(code: number, data: Buffer, mask: boolean): void;
}

/** What stands between two frames. */
interface Stop {
  readonly at: number;
  readonly messages: number;
  readonly pings: number;
  readonly pongs: number;
  readonly isFragmented: boolean;
  readonly hasClosed: boolean;
}

type Frame =
  | { readonly kind: 'data'; readonly size: number; readonly binary: boolean; readonly fin: boolean }
  | { readonly kind: 'ping' | 'pong' | 'close'; readonly size: number };

/** The bytes `ws` sends for these frames, and what is true after each. */
function sent(frames: readonly Frame[], mask: boolean): { bytes: Buffer; stops: Stop[] } {
  const chunks: Buffer[] = [];
  const socket = new Duplex({
    read() {},
    write(chunk, _, done) {
      chunks.push(chunk);
      done();
    },
  });
  const sender = new Sender(socket);
  const stops: Stop[] = [];
  let [messages, pings, pongs, isFragmented, hasClosed] = [0, 0, 0, false, false];
  for (const frame of frames) {
    const data = Buffer.alloc(frame.size, 0x81);
    if (frame.kind === 'data') {
      sender.send(data, { fin: frame.fin, binary: frame.binary, mask, compress: false });
      isFragmented = !frame.fin;
      if (frame.fin) messages += 1;
    } else if (frame.kind === 'close') {
      sender.close(1000, data.subarray(0, 100).fill(0x61), mask);
      hasClosed = true;
    } else {
      sender[frame.kind](data.subarray(0, 125), mask);
      if (frame.kind === 'ping') pings += 1;
      else pongs += 1;
    }
    stops.push({ at: Buffer.concat(chunks).length, messages, pings, pongs, isFragmented, hasClosed });
    if (hasClosed) break;
  }
  return { bytes: Buffer.concat(chunks), stops };
}

const size = fc.oneof(fc.constantFrom(0, 1, 125, 126, 127, 65_535, 65_536), fc.nat(300));
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: fc.constant('data' as const), size, binary: fc.boolean(), fin: fc.boolean() }),
  fc.record({ kind: fc.constantFrom('ping' as const, 'pong' as const), size }),
);
const frames = fc
  .tuple(fc.array(frame, { maxLength: 12 }), fc.boolean())
  .map(([list, closes]): Frame[] => (closes ? [...list, { kind: 'close', size: 5 }] : list));

const NOTHING_YET: Stop = { at: 0, messages: 0, pings: 0, pongs: 0, isFragmented: false, hasClosed: false };

/** Whether it says of `cut` what is true there; `last` is the last frame that had ended. */
function agrees(tracker: FrameTracker, last: Stop, cut: number): boolean {
  const isEnd = last.at === cut;
  return (
    tracker.messages === last.messages &&
    tracker.pings === last.pings &&
    tracker.pongs === last.pongs &&
    // A close frame counts from its header on.
    (tracker.hasClosed || !last.hasClosed) &&
    tracker.isBetweenFrames === isEnd &&
    tracker.isBetweenMessages === (isEnd && !last.isFragmented)
  );
}

describe('FrameTracker', () => {
  it('knows after every cut whether a frame or a message is half there', () => {
    const cuts = fc.array(fc.nat(), { maxLength: 40 });
    fc.assert(
      fc.property(frames, fc.boolean(), cuts, fc.boolean(), (list, mask, random, byBytes) => {
        const { bytes, stops } = sent(list, mask);
        const tracker = new FrameTracker();
        const near = byBytes ? Math.min(bytes.length, 200) : 0;
        const at = new Set([...random.map((cut) => cut % (bytes.length + 1)), ...Array(near).keys(), bytes.length]);
        let fed = 0;
        const wrong = [...at]
          .sort((a, b) => a - b)
          .filter((cut) => {
            tracker.feed(bytes.subarray(fed, cut));
            fed = cut;
            return !agrees(tracker, stops.filter(({ at }) => at <= cut).at(-1) ?? NOTHING_YET, cut);
          });
        expect([wrong, tracker.isBroken]).toEqual([[], false]);
      }),
      { numRuns: 150 },
    );
  });

  it('agrees with the receiver of `ws` on what is no frame', () => {
    fc.assert(
      fc.property(fc.nat(255), fc.nat(125), (first, length) => {
        // Reserved bits belong to extensions; a close frame with one byte is refused by its payload.
        fc.pre((first & 0x8f) !== 0x88 || length !== 1);
        const header = Buffer.of(first & 0x8f, 0x80 | length, 1, 2, 3, 4);
        const tracker = new FrameTracker();
        tracker.feed(header);
        const receiver = new Receiver({ isServer: true });
        receiver.on('error', () => {});
        receiver.write(header);
        expect(tracker.isBroken).toBe(receiver.errored !== null);
      }),
      { numRuns: 500 },
    );
  });

  it('reads nothing after a close frame, and nothing after what is no frame', () => {
    const closed = new FrameTracker();
    closed.feed(Uint8Array.of(0x88, 0, 0xff, 0xff));
    expect([closed.hasClosed, closed.isBroken, closed.isBetweenFrames]).toEqual([true, false, true]);
    const broken = new FrameTracker();
    broken.feed(Uint8Array.of(0x83, 0));
    expect([broken.isBroken, broken.isBetweenFrames, broken.isBetweenMessages]).toEqual([true, false, false]);
  });
});
