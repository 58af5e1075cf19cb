// How a server of Node begins and stops to listen: in a cluster worker, on a descriptor, for good or for a while.
import cluster from 'node:cluster';
import { Server } from 'node:net';

/**
 * Stops accepting, and leaves every connection as it is: `http.Server.close()` would destroy idle ones, the inherited method
 * does not (FACTS N6). Closes the server's descriptor at once; the server emits 'close' when its last connection has ended.
 */
export function stopAccepting(server: Server): void {
  Server.prototype.close.call(server);
}

/** Whether `listen()` and `bind()` take this value for a handle of libuv, or for an object with a handle. */
export function isHandle(value: object): boolean {
  // This check comes first, because reading `_handle` of a datagram socket warns.
  if ('listen' in value || 'recvStart' in value) return true;
  const { _handle, handle } = value as { _handle?: unknown; handle?: unknown };
  return _handle !== undefined || handle !== undefined;
}

/** Lets `address()` return the path of a server that listens on a descriptor, as if Node had bound the path (FACTS N4). */
export function nameListenPath(server: Server, path: string): void {
  (server as { _pipeName?: string })._pipeName = path;
}

/** Calls `listen` as if this were no cluster worker: in one, Node looks the descriptor up in the primary (FACTS N7). */
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
