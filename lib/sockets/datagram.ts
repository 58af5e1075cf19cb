// The handle of a datagram socket: whether it receives, and the options it was made with.
import type { Socket as DatagramSocket } from 'node:dgram';

interface DatagramHandle {
  recvStart(): number;
  recvStop(): number;
}

/**
 * The handle of a datagram socket. Node 26 has no `_handle` on it any more, and in 20 to 24 reading it warns; the state
 * symbol is there in all (FACTS N9).
 */
function datagramHandle(socket: DatagramSocket): DatagramHandle | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  if (!symbol) return undefined;
  const state = (socket as unknown as Record<symbol, { handle?: Partial<DatagramHandle> | null }>)[symbol];
  const handle = state?.handle;
  const isKnown = typeof handle?.recvStop === 'function' && typeof handle.recvStart === 'function';
  return isKnown ? (handle as DatagramHandle) : undefined;
}

/** Options a datagram socket was created with, which count when it is bound. */
export interface DatagramOptions {
  readonly reuseAddr?: unknown;
  readonly reusePort?: unknown;
  readonly ipv6Only?: unknown;
}

/** Undefined where this Node does not tell. */
export function datagramOptions(socket: DatagramSocket): DatagramOptions | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return symbol && (socket as unknown as Record<symbol, DatagramOptions>)[symbol];
}

/** Stops reading datagrams; the socket can still send. False: this Node cannot, and the socket reads on. */
export function stopReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStop() === 0;
}

/** Undoes {@link stopReceiving}. */
export function startReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStart() === 0;
}
