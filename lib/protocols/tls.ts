// TLS below the app's protocol, which is spoken on the decrypted sides of the connections. A connection whose handshake is
// not done yet belongs to this protocol, and can only be cut.
import type { Socket } from 'node:net';
import { encryptedSide } from '../sockets/stream-handle.js';
import type { Connections } from './connections.js';
import { type Counted, NO_DRAIN, type Protocol, type Site } from './protocol.js';

export function tls({ server, connections }: Site): Protocol | undefined {
  if (!('setSecureContext' in server)) return undefined;
  connections.addLayer();
  server.on('secureConnection', (socket: Socket) => connections.addLayered(socket, encryptedSide(socket)));
  return new Tls(connections);
}

class Tls implements Protocol {
  readonly name = 'tls';
  readonly migrate = undefined;
  readonly drain = NO_DRAIN;
  readonly endsIdle = false;
  readonly #connections: Connections;

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /** Whether this is an accepted socket, which the survey lists only before its handshake is done. */
  recognise(socket: Socket): boolean {
    return this.#connections.accepted.has(socket);
  }

  count(sockets: readonly Socket[]): Counted[] {
    return sockets.map((socket) => ({ socket, state: 'idle' }));
  }
}
