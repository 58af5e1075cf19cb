// TLS below the app's protocol: the decrypted sides of a server's connections are what that is spoken on. A connection whose
// handshake is not done yet speaks nothing else, and can only be cut.
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

  /** The encrypted side of a connection that has no other. */
  recognise(socket: Socket): boolean {
    return this.#connections.accepted.has(socket);
  }

  count(sockets: readonly Socket[]): Counted[] {
    return sockets.map((socket) => ({ socket, state: 'idle' }));
  }
}
