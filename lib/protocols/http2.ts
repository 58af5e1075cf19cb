// HTTP/2. Connections stay, and end politely: GOAWAY at once, and open streams finish. A stream that the client opens at that
// moment is beyond the last one GOAWAY names: it was not acted on, and the client may send it again (RFC 9113 §6.8).
import type { Http2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { Connections } from './connections.js';
import { limitLinger } from './linger.js';
import type { Counted, Drain, Protocol, Site } from './protocol.js';

/** Milliseconds in which the first stream of a connection that was accepted just before must come to be answered here. */
const FIRST_STREAM_GRACE = 1_000;

export function http2({ server, connections }: Site): Protocol | undefined {
  return 'updateSettings' in server ? new Http2(server, connections) : undefined;
}

class Http2 implements Protocol, Drain {
  readonly name = 'http2';
  readonly migrate = undefined;
  readonly drain = this;
  readonly endsIdle = false;
  readonly #connections: Connections;
  readonly #sessions = new Set<Http2Session>();
  #isDraining = false;

  constructor(server: Server, connections: Connections) {
    this.#connections = connections;
    server.on('session', (session: Http2Session) => this.#track(session));
  }

  /** With TLS a client may have chosen HTTP/1. */
  recognise(socket: Socket): boolean {
    return !this.#connections.hasLayer || (socket as { alpnProtocol?: unknown }).alpnProtocol === 'h2';
  }

  /** Sessions without a stream have ended at once. */
  count(sockets: readonly Socket[]): Counted[] {
    return sockets.filter(({ writableEnded }) => !writableEnded).map((socket) => ({ socket, state: 'busy' }));
  }

  /** None migrates: there is nothing left to be asked. */
  stay(): void {}

  begin(): void {
    this.#isDraining = true;
    for (const session of this.#sessions) end(session);
  }

  /** Sessions still to come are not asked to end. */
  stop(): void {
    this.#isDraining = false;
  }

  #track(session: Http2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    if (this.#isDraining) endAfterFirst(session);
  }
}

/** GOAWAY is sent by `session.close()` on every Node, by `server.close()` on 24 and 26 only (FACTS C8). */
function end(session: Http2Session): void {
  if (session.destroyed) return;
  // Once the last stream has ended Node sends FIN and reads on; the listener is called with the socket behind the proxy.
  session.socket.once('finish', function (this: Socket) {
    limitLinger(this);
  });
  session.close();
}

/** Its client has just connected, to ask something: it gets that answer, then GOAWAY. */
function endAfterFirst(session: Http2Session): void {
  const timer = setTimeout(() => end(session), FIRST_STREAM_GRACE);
  session.once('close', () => clearTimeout(timer));
  session.once('stream', () => {
    clearTimeout(timer);
    end(session);
  });
}
