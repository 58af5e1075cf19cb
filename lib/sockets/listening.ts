// What Node decides when a server begins or ceases to listen: in a cluster worker, on a descriptor, for good or for a while.
import cluster from 'node:cluster';
import { Server } from 'node:net';

/**
 * Stops accepting and leaves every connection as it is: `http.Server.close()` would destroy the idle ones, this is what
 * it inherits (FACTS N6). The handle is closed at once; the server's 'close' comes with its last connection.
 */
export function stopAccepting(server: Server): void {
  Server.prototype.close.call(server);
}

/** Whether `listen` or `bind` would take this for a handle of libuv, or for an object that has one. */
export function isHandle(value: object): boolean {
  // First: reading `_handle` of a datagram socket warns.
  if ('listen' in value || 'recvStart' in value) return true;
  const { _handle, handle } = value as { _handle?: unknown; handle?: unknown };
  return _handle !== undefined || handle !== undefined;
}

/** Has `address()` tell the path a server listens on by a descriptor, as it does where Node has bound it (FACTS N4). */
export function nameListenPath(server: Server, path: string): void {
  (server as { _pipeName?: string })._pipeName = path;
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
