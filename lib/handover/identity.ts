// Who this process is, for HELLO.

import { VERSION } from '../fd/package.js';
import { processStartTime } from '../fd/pidfd.js';
import { nameRelease } from '../platform/release.js';
import { type Hello, PROTOCOL } from '../protocol/frames.js';
import { ARBITER_CAPABILITY } from './arbiter.js';

/** Read once: it does not change. */
const startTime = processStartTime('self');

/** At the start: a `current` link may lead elsewhere later. */
const release = nameRelease(process.argv[1]);

/** What this process says of itself; `moves`: it goes on with live connections. */
export function helloOf({ pid, generation, moves }: { pid: number; generation: number; moves: boolean }): Hello {
  const capabilities = ['heartbeat', ...(moves ? ['move'] : []), ARBITER_CAPABILITY];
  return { protocol: PROTOCOL, generation, pid, startTime, version: VERSION, capabilities, release };
}
