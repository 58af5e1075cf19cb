// HTTP/2. Connections stay, and drain: GOAWAY is sent at once, and open streams finish. A stream that the client opens at
// that moment has a higher number than GOAWAY names: the server has not acted on it, and the client may send it again (RFC
// 9113 §6.8).
import type { Http2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { Connections } from './connections.js';
import { limitLinger } from './linger.js';
import type { Counted, Drain, Protocol, Site } from './protocol.js';

/**
 * Milliseconds for the first stream of a connection that was accepted just before the drain; a later one is not answered
 * here.
 */
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

  /** With TLS, a client may have chosen HTTP/1 (ALPN). */
  recognise(socket: Socket): boolean {
    return !this.#connections.hasLayer || (socket as { alpnProtocol?: unknown }).alpnProtocol === 'h2';
  }

  /** All are busy: a session without a stream has ended at once. */
  count(sockets: readonly Socket[]): Counted[] {
    return sockets.filter(({ writableEnded }) => !writableEnded).map((socket) => ({ socket, state: 'busy' }));
  }

  /** Does nothing: none migrates, so `begin` has ended all. */
  stay(): void {}

  begin(): void {
    this.#isDraining = true;
    for (const session of this.#sessions) end(session);
  }

  /** New sessions get no GOAWAY any more. */
  stop(): void {
    this.#isDraining = false;
  }

  #track(session: Http2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    if (this.#isDraining) endAfterFirst(session);
  }
}

/** Sends GOAWAY by `session.close()`, which does so on every Node; `server.close()` does on 24 and 26 only (FACTS C8). */
function end(session: Http2Session): void {
  if (session.destroyed) return;
  // Node sends FIN when the last stream has ended, and reads on. `this` is the socket itself; `session.socket` is a proxy.
  session.socket.once('finish', function (this: Socket) {
    limitLinger(this);
  });
  session.close();
}

/** Answers the first stream of a client that has just connected, then sends GOAWAY. */
function endAfterFirst(session: Http2Session): void {
  const timer = setTimeout(() => end(session), FIRST_STREAM_GRACE);
  session.once('close', () => clearTimeout(timer));
  session.once('stream', () => {
    clearTimeout(timer);
    end(session);
  });
}
