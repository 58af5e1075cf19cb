// What is still open while a server drains: which protocol each connection speaks, whether it is busy, whether bytes move.
import type { Server, Socket } from 'node:net';
import type { CutConnections } from '../events.js';
import { tcpTraffic } from '../fd/tcp-traffic.js';
import { idleHttpConnections, isUpgraded } from '../sockets/http-server.js';
import { descriptorOf, encryptedSide, queuedBytes } from '../sockets/stream-handle.js';

export interface Open extends Pick<CutConnections, 'protocol' | 'isTls' | 'state'> {
  /** What ends it when it is destroyed; with TLS the decrypted side once there is one. */
  readonly socket: Socket;
}

export class ConnectionSurvey {
  readonly #server: Server;
  readonly #sockets: ReadonlySet<Socket>;
  readonly #secure: ReadonlySet<Socket>;

  /** `sockets`: as accepted; `secure`: the decrypted side of those with TLS. */
  constructor(server: Server, sockets: ReadonlySet<Socket>, secure: ReadonlySet<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.#secure = secure;
  }

  /** Every open connection but those that have ended for their client and only linger. */
  open(): Open[] {
    const isTls = 'setSecureContext' in this.#server;
    const speaking = isTls ? this.#secure : this.#sockets;
    const idle = new Set(idleHttpConnections(this.#server, speaking));
    const open = [...speaking].map((socket): Open => {
      const protocol = this.#protocolOf(socket, isTls);
      return { socket, protocol, isTls, state: isBusy(socket, protocol, idle) ? 'busy' : 'idle' };
    });
    const wrapped = new Set([...this.#secure].map(encryptedSide));
    const handshakes = isTls ? [...this.#sockets].filter((socket) => !wrapped.has(socket)) : [];
    const isHttp = this.#isHttp1 || this.#isHttp2;
    return [
      ...open.filter(({ socket }) => !isHttp || !socket.writableEnded),
      ...handshakes.map((socket): Open => ({ socket, protocol: 'tls', isTls, state: 'idle' })),
    ].filter(({ socket }) => !socket.destroyed);
  }

  get #isHttp1(): boolean {
    return 'closeIdleConnections' in this.#server;
  }

  get #isHttp2(): boolean {
    return 'updateSettings' in this.#server;
  }

  #protocolOf(socket: Socket, isTls: boolean): Open['protocol'] {
    if (this.#isHttp2 && (!isTls || (socket as { alpnProtocol?: unknown }).alpnProtocol === 'h2')) return 'http2';
    if (!this.#isHttp1) return 'raw';
    return isUpgraded(socket) ? 'upgraded' : 'http1';
  }
}

/** HTTP/2 sessions without a stream have ended at once; of what is not HTTP only the app knows, and what waits is seen. */
function isBusy(socket: Socket, protocol: Open['protocol'], idle: ReadonlySet<Socket>): boolean {
  if (protocol === 'http1') return !idle.has(socket);
  return protocol === 'http2' || socket.readableLength > 0 || socket.writableLength > 0 || queuedBytes(socket) > 0;
}

/**
 * A number that changes when a byte of this connection moves. Where the kernel tells, it is what it has received and what
 * the client has acknowledged: the last megabytes of a response leave the kernel's buffer long after they left Node's.
 */
export function trafficOf(socket: Socket): number {
  const fd = descriptorOf(socket);
  const kernel = fd === undefined ? undefined : tcpTraffic(fd);
  return kernel ?? socket.bytesRead + socket.bytesWritten - queuedBytes(socket);
}
