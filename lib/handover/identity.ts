// Who this process is, for HELLO.
import { createRequire } from 'node:module';
import { type Hello, PROTOCOL } from '../channel/wire.js';
import { processStartTime } from '../fd/pidfd.js';
import { ARBITER_CAPABILITY } from './arbiter.js';
import { nameRelease } from './release.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

/** Of this package. */
export const VERSION: string = version;

/** Read once: it does not change. */
const startTime = processStartTime('self');

/** At the start: a `current` link may lead elsewhere later. */
const release = nameRelease(process.argv[1]);

/** What this process says of itself; `moves`: it goes on with live connections. */
export function helloOf({ pid, generation, moves }: { pid: number; generation: number; moves: boolean }): Hello {
  const capabilities = ['heartbeat', ...(moves ? ['move'] : []), ARBITER_CAPABILITY];
  return { protocol: PROTOCOL, generation, pid, startTime, version: VERSION, capabilities, release };
}
