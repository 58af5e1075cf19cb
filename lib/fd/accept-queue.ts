// The accept queue of a TCP listener, as the kernel keeps it.
import { native } from './native.js';

/** How many connections wait to be accepted, and how many may. */
export interface AcceptQueue {
  readonly depth: number;
  /** The backlog given to listen(2), or net.core.somaxconn where that is less. */
  readonly limit: number;
}

// Of struct tcp_info, the same since Linux 2.6: for a listener tcpi_unacked is the length of its queue and tcpi_sacked
// the limit (tcp_get_info() in net/ipv4/tcp.c). /proc/net/tcp tells only the first, and only of its own namespace.
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const STATE_OFFSET = 0;
const TCP_LISTEN = 10;
const UNACKED_OFFSET = 24;
const SACKED_OFFSET = 28;
const NEEDED_BYTES = 32;

/** Undefined where the platform does not tell: anywhere but on Linux, and of a Unix listener. The descriptor is borrowed. */
export function acceptQueue(listener: number): AcceptQueue | undefined {
  if (process.platform !== 'linux') return undefined;
  const info = Buffer.alloc(NEEDED_BYTES);
  const length = native().getsockopt(listener, IPPROTO_TCP, TCP_INFO, info);
  if (length < NEEDED_BYTES || info[STATE_OFFSET] !== TCP_LISTEN) return undefined;
  const read = (offset: number): number => new DataView(info.buffer, info.byteOffset).getUint32(offset, isLittleEndian);
  return { depth: read(UNACKED_OFFSET), limit: read(SACKED_OFFSET) };
}

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
