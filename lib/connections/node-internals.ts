// Everything that leans on Node's internals, in one place. Each is looked for at run time; where it is missing the
// caller gets undefined or false, and drains instead.
import cluster from 'node:cluster';
import type { Socket as DatagramSocket } from 'node:dgram';
import { Server } from 'node:net';

/**
 * Stops accepting and leaves every connection as it is: `http.Server.close()` would destroy the idle ones, this is what
 * it inherits (FACTS N6). The handle is closed at once; the server's 'close' comes with its last connection.
 */
export function stopAccepting(server: Server): void {
  Server.prototype.close.call(server);
}

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

/** Stops reading datagrams; the socket can still send. False: this Node cannot, and the socket reads on. */
export function stopReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStop() === 0;
}

/** Undoes {@link stopReceiving}. */
export function startReceiving(socket: DatagramSocket): boolean {
  return datagramHandle(socket)?.recvStart() === 0;
}

/** Listens here and now also in a cluster worker, where Node would look the descriptor up in its primary (FACTS N7). */
export function outsideCluster(listen: () => void): void {
  const mutable = cluster as { isPrimary: boolean };
  const { isPrimary } = mutable;
  mutable.isPrimary = true;
  try {
    listen();
  } finally {
    mutable.isPrimary = isPrimary;
  }
}
