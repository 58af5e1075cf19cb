// The channel over real sockets, with real descriptors: order, chunks, back-pressure, and peers that break the format.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { closeFds, FdSocket, socketpair } from '../../lib/fd/index.js';
import { Channel } from '../../lib/protocol/channel.js';
import {
  encodeFrame,
  type Frame,
  MAX_FRAME_FDS,
  MAX_PAYLOAD_BYTES,
  OPTIONAL_BIT,
  type Payloads,
} from '../../lib/protocol/frames.js';
import {
  close,
  closedFd,
  fillTable,
  inode,
  isAtEnd,
  onLinux,
  ownAll,
  pair,
  plain,
  rejectionOf,
} from '../fd/sandbox.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { channels, collect, rawFrame, receiver, SAMPLES, take } from './frames.js';

expectNoLeaks();

const MANIFEST = 2;
const empty: Payloads['MANIFEST'] = { entries: [], more: false };
const emptyBytes = Buffer.from(JSON.stringify(empty));

function broken(message: string | RegExp): object {
  const text = typeof message === 'string' ? message : expect.stringMatching(message);
  return expect.objectContaining({
    name: 'HandoverError',
    code: 'ERR_HANDOVER_PROTOCOL',
    message: typeof message === 'string' ? `the other process broke the protocol: ${message}` : text,
    cause: expect.any(Error),
  });
}

/** A descriptor to send whose last copy's end the test sees at `other`. */
function witness(): { passed: number; other: number } {
  const [passed, other] = pair();
  return { passed, other };
}

describe('frames over a socket', () => {
  test.each([
    'predecessor',
    'successor',
  ] as const)('all that a %s sends arrive, in order, with their descriptors', async (from) => {
    const { predecessor, successor } = channels();
    const [sender, reader] = from === 'predecessor' ? [predecessor, successor] : [successor, predecessor];
    const mine = SAMPLES.filter((sample) => sample.from === from);
    const [file] = pair();
    const reading = collect(reader);
    await Promise.all(
      mine.map(({ name, payload, fdCount }) => sender.send(name, payload as never, new Int32Array(fdCount).fill(file))),
    );
    sender.close();
    expect(await reading).toEqual({
      frames: mine.map(({ name, payload, fdCount }) => ({ name, payload, fdCount })),
      error: undefined,
    });
  });

  test('the descriptors of each frame are its own, in order', async () => {
    const { predecessor, successor } = channels();
    const files = Array.from({ length: 6 }, () => pair()[0]);
    void predecessor.send('MANIFEST', { ...empty, more: true }, Int32Array.from(files.slice(0, 2)));
    void predecessor.send('RETIRE', {});
    void predecessor.send('COMMIT', empty, Int32Array.from(files.slice(2)));
    const frames = await take(successor, 3);
    const inodes = frames.map(({ fds }) => ownAll(fds).map(inode));
    expect(inodes).toEqual([files.slice(0, 2).map(inode), [], files.slice(2).map(inode)]);
  });

  test.each([253, 254, 506, 507, MAX_FRAME_FDS])('a frame with %i descriptors', async (count) => {
    const { predecessor, successor } = channels();
    const reading = take(successor, 1);
    const [file] = pair();
    await predecessor.send('MANIFEST', empty, new Int32Array(count).fill(file));
    const [frame] = await reading;
    expect(frame?.fds).toHaveLength(count);
    expect(new Set([...(frame?.fds ?? [])].map(inode))).toEqual(new Set([inode(file)]));
    closeFds(frame?.fds ?? []);
  });

  test('several chunked frames behind one another keep their descriptors apart', async () => {
    const { predecessor, successor } = channels();
    const files = [pair()[0], pair()[0], pair()[0]];
    const reading = take(successor, 3);
    await Promise.all(files.map((file) => predecessor.send('MANIFEST', empty, new Int32Array(300).fill(file))));
    for (const [index, { fds }] of (await reading).entries()) {
      expect(new Set([...fds].map(inode))).toEqual(new Set([inode(files[index] as number)]));
      closeFds(fds);
    }
  });

  test('G7: 200 frames with descriptors leave as many open as there were', async () => {
    const { predecessor, successor } = channels();
    const before = openDescriptors().size;
    const reading = collect(successor);
    for (let i = 0; i < 200; i++) await predecessor.send('MANIFEST', empty, new Int32Array(20).fill(2));
    predecessor.close();
    expect((await reading).frames).toHaveLength(200);
    // The predecessor's own end has gone.
    expect(openDescriptors().size).toBe(before - 1);
  });

  test('both sides writing more than a buffer holds, at once, do not wait for each other', async () => {
    const { predecessor, successor } = channels();
    const reason = 'x'.repeat(4 << 20);
    const reading = [take(predecessor, 3), take(successor, 3)];
    await Promise.all(
      [predecessor, successor].flatMap((channel) => Array.from({ length: 3 }, () => channel.send('ABORT', { reason }))),
    );
    for (const frames of await Promise.all(reading)) {
      expect(frames.map(({ payload }) => payload)).toEqual(Array(3).fill({ reason }));
    }
  });
});

describe('the end', () => {
  test('frames sent before a close arrive, then the stream ends', async () => {
    const { predecessor, successor } = channels();
    await predecessor.send('RETIRE', {});
    predecessor.close();
    expect(await collect(successor)).toEqual({
      frames: [{ name: 'RETIRE', payload: {}, fdCount: 0 }],
      error: undefined,
    });
  });

  test.runIf(onLinux)('a peer that dies with frames of ours unread is the end, not an error', async () => {
    const { predecessor, successor } = channels();
    await successor.send('READY', {});
    await predecessor.send('RETIRE', {});
    predecessor.close();
    expect((await collect(successor)).error).toBeUndefined();
  });

  test('a peer that dies in the middle of a frame: the end, and its descriptors are closed', async () => {
    const { channel, peer } = receiver('successor');
    const { passed, other } = witness();
    await peer.send(rawFrame(MANIFEST, emptyBytes, 1).subarray(0, 12), [passed]);
    close(passed);
    peer.close();
    expect(await collect(channel)).toEqual({ frames: [], error: undefined });
    expect(isAtEnd(other)).toBe(true);
  });

  test('a reader that leaves in the middle: the descriptors of the frames behind are closed', async () => {
    const { channel, peer } = receiver('successor');
    const { passed, other } = witness();
    // One read brings the first frame whole and of the second the descriptors.
    await peer.send(Buffer.concat([rawFrame(12, '{}'), rawFrame(MANIFEST, emptyBytes, 1)]), [passed]);
    close(passed);
    expect((await take(channel, 1)).map(({ name }) => name)).toEqual(['RETIRE']);
    expect(isAtEnd(other)).toBe(true);
  });

  test('close() ends the reader and rejects what waits', async () => {
    const { predecessor, successor } = channels();
    const reading = collect(successor);
    const sending = rejectionOf(successor.send('ABORT', { reason: 'x'.repeat(4 << 20) }));
    successor.close();
    expect(await sending).toMatchObject({ code: 'ECANCELED' });
    expect(await reading).toEqual({ frames: [], error: undefined });
    expect(await rejectionOf(successor.send('READY', {}))).toMatchObject({ code: 'ECANCELED' });
    predecessor.close();
  });

  test('a send that fails half way closes the channel: the peer never sees the next frame inside this one', async () => {
    const { predecessor, successor } = channels();
    const closed = closedFd();
    const fds = new Int32Array(300).fill(2);
    fds[299] = closed;
    const reading = collect(successor);
    expect(await rejectionOf(predecessor.send('MANIFEST', empty, fds))).toMatchObject({
      code: 'EBADF',
      syscall: 'sendmsg',
    });
    expect(await rejectionOf(predecessor.send('RETIRE', {}))).toMatchObject({ code: 'ECANCELED' });
    expect(await reading).toEqual({ frames: [], error: undefined });
  });

  test.runIf(onLinux)('K3: a full descriptor table is ERR_HANDOVER_DESCRIPTORS, and nothing stays open', async () => {
    const { predecessor, successor } = channels();
    const { passed, other } = witness();
    await predecessor.send('MANIFEST', empty, new Int32Array(10).fill(passed));
    close(passed);
    const release = fillTable(3);
    let result: Awaited<ReturnType<typeof collect>>;
    try {
      result = await collect(successor);
    } finally {
      release();
    }
    expect(plain(result.error)).toMatchObject({
      class: 'HandoverError',
      code: 'ERR_HANDOVER_DESCRIPTORS',
      message: 'descriptors were lost on the way: the descriptor table of this process is full',
    });
    expect((result.error as Error).cause).toMatchObject({ code: 'ENOBUFS' });
    expect(isAtEnd(other)).toBe(true);
  });
});

describe.runIf(onLinux)('an OFFER for which there is no room', () => {
  test("G4: comes without its descriptors, which stay the sender's; the frames around it are whole", async () => {
    const { predecessor, successor } = channels();
    const [before, offered, after] = [witness(), witness(), witness()];
    const connection = { listener: 'web', protocol: 'http1', head: Buffer.alloc(0), state: Buffer.alloc(0) };
    const offer = { batch: 1, connections: Array(10).fill(connection) };
    await predecessor.send('HEARTBEAT', {});
    await predecessor.send('OFFER', offer, new Int32Array(10).fill(offered.passed));
    await predecessor.send('HEARTBEAT', { connections: 1 });
    await predecessor.send('OFFER', { batch: 2, connections: [connection] }, Int32Array.of(after.passed));
    for (const { passed } of [before, offered, after]) close(passed);
    const release = fillTable(3);
    const frames: Frame[] = [];
    try {
      frames.push(...(await take(successor, 4)));
    } finally {
      release();
    }
    expect(frames.map(({ name, isLost, fds }) => [name, isLost ?? false, fds.length])).toEqual([
      ['HEARTBEAT', false, 0],
      ['OFFER', true, 0],
      ['HEARTBEAT', false, 0],
      ['OFFER', false, 1],
    ]);
    expect(isAtEnd(offered.other)).toBe(true);
    closeFds(frames[3]?.fds ?? []);
  });
});

describe('G9: optional frames', () => {
  test('one that is not known is ignored, its descriptors closed, and the next is read', async () => {
    const { channel, peer } = receiver('successor');
    const { passed, other } = witness();
    await peer.send(rawFrame(99 | OPTIONAL_BIT, 'from the future', 2), [passed, passed]);
    close(passed);
    await peer.send(encodeFrame('RETIRE', {}, 0));
    peer.close();
    expect((await collect(channel)).frames.map(({ name }) => name)).toEqual(['RETIRE']);
    expect(isAtEnd(other)).toBe(true);
  });
});

describe('a peer that breaks the format: ERR_HANDOVER_PROTOCOL, and everything it sent is closed', () => {
  const cases: [string, Buffer, number, object][] = [
    ['an unknown mandatory frame', rawFrame(99, '{}', 1), 1, broken('frame type 99 is not known')],
    ['the wrong direction', rawFrame(4, '{}', 1), 1, broken('READY came from a predecessor')],
    ['malformed JSON', rawFrame(MANIFEST, '{"entries":', 1), 1, broken(/: MANIFEST: .*JSON/)],
    [
      'a field of another type',
      rawFrame(MANIFEST, '{"entries":1}', 1),
      1,
      broken('MANIFEST: payload.entries is not a list'),
    ],
    ['a malformed OFFER', rawFrame(8, Buffer.alloc(7), 1), 1, broken('OFFER: cut short at byte 6')],
    ['a malformed GO', rawFrame(10, Buffer.alloc(9), 1), 1, broken('GO: 5 bytes too many')],
    [
      'a payload too long',
      rawFrame(MANIFEST, '', 1, MAX_PAYLOAD_BYTES + 1),
      1,
      broken(`frame of ${MAX_PAYLOAD_BYTES + 1} bytes: the limit is ${MAX_PAYLOAD_BYTES}`),
    ],
    [
      'too many descriptors',
      rawFrame(MANIFEST, '', MAX_FRAME_FDS + 1),
      1,
      broken('frame with 2025 descriptors: the limit is 2024'),
    ],
    [
      'more than announced, frame unfinished',
      rawFrame(MANIFEST, 'half', 1, 100),
      3,
      broken('2 descriptors belong to no frame'),
    ],
  ];

  test.each(cases)('%s', async (_, bytes, fdCount, expected) => {
    const { channel, peer } = receiver('successor');
    const { passed, other } = witness();
    await peer.send(bytes, Array(fdCount).fill(passed));
    close(passed);
    expect(await collect(channel)).toEqual({ frames: [], error: expected });
    expect(isAtEnd(other)).toBe(true);
  });

  test('surplus descriptors behind a whole frame: it is delivered, they are never taken for the next one’s', async () => {
    const { channel, peer } = receiver('successor');
    const { passed, other } = witness();
    await peer.send(rawFrame(12, '{}'), [passed]);
    close(passed);
    const [file] = pair();
    await peer.send(rawFrame(MANIFEST, emptyBytes, 1), [file]);
    const { frames, error } = await collect(channel);
    expect(frames.map(({ name }) => name)).toEqual(['RETIRE']);
    expect(error).toEqual(broken('1 descriptors belong to no frame'));
    expect(isAtEnd(other)).toBe(true);
  });

  test('a malformed HELD, to a predecessor', async () => {
    const { channel, peer } = receiver('predecessor');
    await peer.send(rawFrame(9, Buffer.from([0, 0, 0, 1, 0, 9])));
    expect((await collect(channel)).error).toEqual(broken('HELD: cut short at byte 6'));
  });
});

test('any bytes with descriptors anywhere: frames, the end, or a coded error; never a crash, never a leak', async () => {
  const known = fc
    .constantFrom(...SAMPLES)
    .map(({ name, payload, fdCount }) => encodeFrame(name, payload as never, fdCount));
  const odd = fc
    .record({ type: fc.nat(0xffff), payload: fc.uint8Array({ maxLength: 20 }), fdCount: fc.nat(3), longer: fc.nat(2) })
    .map(({ type, payload, fdCount, longer }) => rawFrame(type, payload, fdCount, payload.length + longer));
  const noise = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((array) => Buffer.from(array));
  const part = fc.record({
    bytes: fc.oneof({ weight: 5, arbitrary: known }, odd, noise),
    fdCount: fc.nat(4),
    cut: fc.nat(40),
  });
  const [passed, other] = pair();

  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { minLength: 1, maxLength: 6 }),
      fc.constantFrom('predecessor', 'successor'),
      async (parts, role) => {
        const before = openDescriptors().size;
        const [ours, theirs] = socketpair();
        const channel = new Channel(new FdSocket(ours), role as 'successor');
        const peer = new FdSocket(theirs);
        const reading = collect(channel);
        for (const { bytes, fdCount, cut } of parts) {
          const fds = new Int32Array(fdCount).fill(passed);
          const at = 1 + (cut % bytes.length);
          await peer.send(bytes.subarray(0, at), fds).catch(() => {});
          if (at < bytes.length) await peer.send(bytes.subarray(at)).catch(() => {});
        }
        peer.close();
        const { error } = await reading;
        channel.close();
        if (error !== undefined)
          expect(plain(error)).toMatchObject({ class: 'HandoverError', code: 'ERR_HANDOVER_PROTOCOL' });
        expect(openDescriptors().size).toBe(before);
      },
    ),
    { numRuns: 300 },
  );
  close(passed);
  expect(isAtEnd(other)).toBe(true);
});
