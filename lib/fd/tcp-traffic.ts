// How many bytes a TCP connection has moved, as the kernel counts them.
import { endianness } from 'node:os';
import { isSupported, native } from './native.js';

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** Offsets of tcpi_bytes_acked and tcpi_bytes_received in struct tcp_info (linux/tcp.h, Linux 4.1). */
const BYTES_ACKED = 120;
const BYTES_RECEIVED = 128;

const info = Buffer.alloc(BYTES_RECEIVED + 8);
const isLittle = endianness() === 'LE';

/** Received, and sent and acknowledged: tcp(7) TCP_INFO. Undefined where it is no TCP connection, no Linux, or no addon. */
export function tcpTraffic(fd: number): number | undefined {
  if (process.platform !== 'linux' || !isSupported()) return undefined;
  if (native().getsockopt(fd, IPPROTO_TCP, TCP_INFO, info) < info.length) return undefined;
  const read = (offset: number): number =>
    Number(isLittle ? info.readBigUInt64LE(offset) : info.readBigUInt64BE(offset));
  return read(BYTES_ACKED) + read(BYTES_RECEIVED);
}
