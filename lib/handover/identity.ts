// The HELLO of this process.

import { VERSION } from '../fd/package.js';
import { processStartTime } from '../fd/pidfd.js';
import { nameRelease } from '../platform/release.js';
import { type Hello, PROTOCOL } from '../protocol/frames.js';
import { ARBITER_CAPABILITY } from './arbiter.js';

/** Read once, because it does not change. */
const startTime = processStartTime('self');

/** Read at the start, because a `current` link may lead to another release later. */
const release = nameRelease(process.argv[1]);

/** `moves`: this process can adopt live connections. */
export function helloOf({ pid, generation, moves }: { pid: number; generation: number; moves: boolean }): Hello {
  const capabilities = ['heartbeat', ...(moves ? ['move'] : []), ARBITER_CAPABILITY];
  return { protocol: PROTOCOL, generation, pid, startTime, version: VERSION, capabilities, release };
}
