// One sample of every frame, and what the tests of the channel share: raw frames as an older, newer or broken peer
// sends them.
import { onTestFinished } from 'vitest';
import { closeFds, FdSocket } from '../../lib/fd/index.js';
import { Channel } from '../../lib/protocol/channel.js';
import { type Frame, type FrameName, HEADER_BYTES, type Payloads, type Role } from '../../lib/protocol/frames.js';

export type Sample = { [N in FrameName]: { name: N; from: Role; fdCount: number; payload: Payloads[N] } }[FrameName];

export const SAMPLES: readonly Sample[] = [
  {
    name: 'HELLO',
    from: 'predecessor',
    fdCount: 0,
    payload: { protocol: { min: 1, max: 1 }, generation: 7, pid: 4711, version: '0.1.0', capabilities: ['migrate'] },
  },
  {
    name: 'HELLO',
    from: 'successor',
    fdCount: 0,
    payload: { protocol: { min: 1, max: 2 }, generation: 8, pid: 4712, version: '9.9.9', capabilities: [] },
  },
  {
    name: 'MANIFEST',
    from: 'predecessor',
    fdCount: 3,
    payload: {
      entries: [
        { name: 'web', kind: 'tcp', address: 'tcp://*:8080' },
        { name: 'admin', kind: 'unix', address: 'unix:/run/app/admin.sock', file: '26:4711' },
        { name: 'täglich', kind: 'blob', address: '' },
      ],
      more: false,
      standby: true,
    },
  },
  { name: 'MANIFEST', from: 'predecessor', fdCount: 0, payload: { entries: [], more: true } },
  { name: 'CLAIMED', from: 'successor', fdCount: 0, payload: { claimed: ['web', 'admin'], unclaimed: ['täglich'] } },
  { name: 'READY', from: 'successor', fdCount: 0, payload: {} },
  { name: 'HEARTBEAT', from: 'successor', fdCount: 0, payload: { healthy: true } },
  { name: 'HEARTBEAT', from: 'successor', fdCount: 0, payload: {} },
  {
    name: 'COMMIT',
    from: 'predecessor',
    fdCount: 2,
    payload: {
      entries: [
        { name: 'dns', kind: 'udp', address: 'udp://127.0.0.1:53' },
        { name: 'stderr', kind: 'descriptor', address: '' },
      ],
      more: false,
    },
  },
  { name: 'COMMITTED', from: 'successor', fdCount: 0, payload: {} },
  {
    name: 'OFFER',
    from: 'predecessor',
    fdCount: 3,
    payload: {
      batch: 0xfffffffe,
      connections: [
        { listener: 'web', protocol: 'http1', head: Buffer.alloc(0), state: Buffer.from([0, 1, 255]) },
        { listener: 'täglich', protocol: 'raw', head: Buffer.from('GET'), state: Buffer.alloc(0) },
        { listener: 'web', protocol: '', head: Buffer.alloc(0), state: Buffer.alloc(0) },
      ],
    },
  },
  { name: 'OFFER', from: 'predecessor', fdCount: 0, payload: { batch: 0, connections: [] } },
  { name: 'HELD', from: 'successor', fdCount: 0, payload: { batch: 0xfffffffe, verdicts: [0, 1, 2, 3] } },
  { name: 'GO', from: 'predecessor', fdCount: 0, payload: { batch: 0xfffffffe } },
  { name: 'ABORT', from: 'predecessor', fdCount: 0, payload: { batch: 3 } },
  { name: 'ABORT', from: 'successor', fdCount: 0, payload: { code: 'ERR_HANDOVER_ABORTED', reason: 'not today' } },
  { name: 'RETIRE', from: 'predecessor', fdCount: 0, payload: {} },
  { name: 'READY', from: 'successor', fdCount: 0, payload: { room: 700 } },
  { name: 'HEARTBEAT', from: 'successor', fdCount: 0, payload: { healthy: true, connections: 2, room: 0 } },
  { name: 'HELD', from: 'successor', fdCount: 0, payload: { batch: 1, verdicts: [4, 4] } },
];

/** A frame of any type and payload. */
export function rawFrame(type: number, payload: Uint8Array | string, fdCount = 0, length = payload.length): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(length, 0);
  header.writeUInt16BE(type, 4);
  header.writeUInt16BE(fdCount, 6);
  return Buffer.concat([header, Buffer.from(payload as Uint8Array)]);
}

/** A channel that receives as `role`, and the plain socket at its other end. */
export function receiver(role: Role): { channel: Channel; peer: FdSocket } {
  const [ours, peer] = FdSocket.pair();
  const channel = new Channel(ours, role);
  onTestFinished(() => {
    channel.close();
    peer.close();
  });
  return { channel, peer };
}

/** Both ends. */
export function channels(): { predecessor: Channel; successor: Channel } {
  const [left, right] = FdSocket.pair();
  const both = { predecessor: new Channel(left, 'predecessor'), successor: new Channel(right, 'successor') };
  onTestFinished(() => {
    both.predecessor.close();
    both.successor.close();
  });
  return both;
}

/** Every frame until the end; their descriptors are counted and closed. */
export async function collect(
  channel: Channel,
): Promise<{ frames: { name: FrameName; payload: unknown; fdCount: number }[]; error: unknown }> {
  const frames: { name: FrameName; payload: unknown; fdCount: number }[] = [];
  try {
    for await (const { name, payload, fds } of channel) {
      frames.push({ name, payload, fdCount: fds.length });
      closeFds(fds);
    }
    return { frames, error: undefined };
  } catch (error) {
    return { frames, error };
  }
}

/** The next `count` frames; their descriptors are the caller's. */
export async function take(channel: Channel, count: number): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of channel) {
    frames.push(frame);
    if (frames.length === count) break;
  }
  return frames;
}
