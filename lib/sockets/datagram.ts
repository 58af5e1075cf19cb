// The internals of a datagram socket: its handle, which starts and stops receiving, and the options of its creation.
import type { Socket as DatagramSocket } from 'node:dgram';

interface DatagramHandle {
  recvStart(): number;
  recvStop(): number;
}

/**
 * The handle of a datagram socket; undefined where this Node keeps it elsewhere. Node 26 has no `_handle`, and Node 20 to 24
 * warn when it is read; all of them have the state symbol (FACTS N9).
 */
function datagramHandle(socket: DatagramSocket): DatagramHandle | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  if (!symbol) return undefined;
  const state = (socket as unknown as Record<symbol, { handle?: Partial<DatagramHandle> | null }>)[symbol];
  const handle = state?.handle;
  const isKnown = typeof handle?.recvStop === 'function' && typeof handle.recvStart === 'function';
  return isKnown ? (handle as DatagramHandle) : undefined;
}

/** Options of `dgram.createSocket()` that take effect when the socket is bound. */
export interface DatagramOptions {
  readonly reuseAddr?: unknown;
  readonly reusePort?: unknown;
  readonly ipv6Only?: unknown;
}

/** The options of a datagram socket; undefined where this Node keeps them elsewhere. */
export function datagramOptions(socket: DatagramSocket): DatagramOptions | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return symbol && (socket as unknown as Record<symbol, DatagramOptions>)[symbol];
}

/** Stops reading datagrams; the socket can still send. False: this Node has no way to stop, and the socket reads on. */
export function stopReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStop() === 0;
}

/** Undoes {@link stopReceiving}. False: this Node has no way to start, or the kernel refused. */
export function startReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStart() === 0;
}
