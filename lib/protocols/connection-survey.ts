// Lists the open connections of a draining server, each as busy or idle by its protocol.
import type { Socket } from 'node:net';
import type { Connections } from './connections.js';
import type { Counted, Protocol } from './protocol.js';

export interface Open extends Counted {
  readonly protocol: Protocol;
  readonly isTls: boolean;
}

export class ConnectionSurvey {
  readonly #connections: Connections;
  readonly #protocols: readonly Protocol[];

  constructor(connections: Connections, protocols: readonly Protocol[]) {
    this.#connections = connections;
    this.#protocols = protocols;
  }

  /** Every open connection, except those that this side has ended and that only linger. */
  open(): Open[] {
    const own = new Map<Protocol, Socket[]>();
    for (const socket of this.#connections.open()) {
      const protocol = this.#protocols.find((each) => each.recognise(socket));
      if (!protocol || socket.destroyed) continue;
      const sockets = own.get(protocol);
      if (sockets) sockets.push(socket);
      else own.set(protocol, [socket]);
    }
    const isTls = this.#connections.hasLayer;
    return [...own].flatMap(([protocol, sockets]) =>
      protocol.count(sockets).map((counted) => ({ ...counted, protocol, isTls })),
    );
  }
}
