// What a played peer can do instead of its next frame, and the descriptors a test counts meanwhile.
import { openSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { closeFd } from '../../lib/fd/index.js';
import { encodeFrame, type Hello, type ManifestEntry } from '../../lib/protocol/frames.js';
import type { Peer } from '../handover/peer.js';
import { openDescriptors } from '../helpers/leaks.js';

export const hello: Hello = {
  protocol: { min: 1, max: 1 },
  generation: 1,
  pid: 4711,
  version: '0.1.0',
  capabilities: ['heartbeat', 'move'],
};
export const entries: readonly ManifestEntry[] = [{ name: 'web', kind: 'descriptor', address: '' }];

let files = 0;

/** A descriptor the test owns. */
export function file(): number {
  const fd = openSync('/dev/null', 'r');
  files += 1;
  onTestFinished(() => {
    closeFd(fd);
    files -= 1;
  });
  return fd;
}

/** Open beside those of the test. */
export const open = (): number => openDescriptors().size - files;

/** What a peer does instead of its next frame. */
export interface Fault {
  readonly name: string;
  act(peer: Peer): Promise<void>;
  readonly isEnd: boolean;
}

const beat = encodeFrame('HEARTBEAT', { healthy: true }, 0);
/** The same frame, and so many descriptors announced. */
const announcing = (count: number): Buffer => encodeFrame('HEARTBEAT', { healthy: true }, count);

export const FAULTS: readonly Fault[] = [
  { name: 'closes the channel', act: async (peer) => peer.close(), isEnd: true },
  {
    name: 'dies in the middle of a frame',
    act: async (peer) => {
      await peer.write(beat.subarray(0, 11));
      peer.close();
    },
    isEnd: true,
  },
  { name: 'sends garbage', act: (peer) => peer.write(Buffer.alloc(64, 0xff)), isEnd: false },
  {
    name: 'goes on after half a frame',
    act: async (peer) => {
      await peer.write(beat.subarray(0, beat.length - 4));
      await peer.write(beat);
    },
    isEnd: false,
  },
  {
    name: 'sends a frame of an unknown type',
    act: (peer) => peer.write(Buffer.from([0, 0, 0, 0, 0x7f, 0xff, 0, 0])),
    isEnd: false,
  },
  { name: 'sends more descriptors than announced', act: (peer) => peer.write(beat, [file(), file()]), isEnd: false },
  { name: 'sends fewer descriptors than announced', act: (peer) => peer.write(announcing(3), [file()]), isEnd: false },
];
