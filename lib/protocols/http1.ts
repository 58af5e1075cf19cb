// HTTP/1: connections of node:http, of https, and of an http2 server that allows it. Without TLS they migrate between two
// requests. Otherwise they end with the next response, or when idle.
import type { Server, Socket } from 'node:net';
import { idleHttpConnections } from '../sockets/http-server.js';
import type { Connections } from './connections.js';
import { HttpDrain } from './http1/drain.js';
import { Http1Migrator } from './http1/migrator.js';
import type { Counted, Drain, DrainOptions, Protocol, Site } from './protocol.js';

interface HttpServer extends Server {
  closeIdleConnections(): void;
}

/** Whether a server speaks HTTP/1: the parser that names idle connections is there. */
function isHttp1(server: Server): server is HttpServer {
  return 'closeIdleConnections' in server;
}

/** Whether a server speaks HTTP/1 without TLS: the TLS state of a connection cannot migrate. */
export function speaksPlainHttp1(server: Server): boolean {
  return isHttp1(server) && !('setSecureContext' in server);
}

export function http1({ server, name, connections, migration }: Site): Protocol | undefined {
  if (!isHttp1(server)) return undefined;
  const drain = new HttpDrain(server, () => speaking(connections));
  const migrate = speaksPlainHttp1(server) ? new Http1Migrator(server, name, connections, drain, migration) : undefined;
  if (migrate) alsoCloseParked(server, migrate);
  return new Http1(server, drain, migrate);
}

class Http1 implements Protocol, Drain {
  readonly name = 'http1';
  readonly endsIdle = true;
  readonly drain = this;
  readonly migrate: Http1Migrator | undefined;
  readonly #server: HttpServer;
  readonly #drain: HttpDrain;

  constructor(server: HttpServer, drain: HttpDrain, migrate: Http1Migrator | undefined) {
    this.#server = server;
    this.#drain = drain;
    this.migrate = migrate;
  }

  /** True: the server's other protocols are asked first. */
  recognise(): boolean {
    return true;
  }

  begin({ moves, timeout }: DrainOptions & { readonly timeout: number }): void {
    this.#drain.begin(timeout);
    if (!moves || !this.migrate?.canMove) this.#drain.endAll();
  }

  stay(): void {
    this.migrate?.stopMoving();
    this.#drain.endAll();
  }

  stop(): void {
    this.#drain.stop();
  }

  closeIdle(): void {
    this.#server.closeIdleConnections();
  }

  count(sockets: readonly Socket[]): Counted[] {
    const idle = new Set(idleHttpConnections(this.#server, sockets));
    return sockets
      .filter(({ writableEnded }) => !writableEnded)
      .map((socket) => ({ socket, state: idle.has(socket) ? 'idle' : 'busy' }));
  }
}

/** The sockets on which HTTP/1 is spoken, or may be. */
function speaking(connections: Connections): Iterable<Socket> {
  if (!connections.hasLayer) return connections.accepted;
  const isHttp1 = (socket: Socket): boolean => (socket as { alpnProtocol?: unknown }).alpnProtocol !== 'h2';
  const isFresh = ({ bytesRead }: Socket): boolean => bytesRead === 0;
  return [...[...connections.speaking].filter(isHttp1), ...[...connections.accepted].filter(isFresh)];
}

/** Makes Node's `close()`, which calls this method, end parked connections, too: Node's parser does not know them. */
function alsoCloseParked(server: HttpServer, migrate: Http1Migrator): void {
  const { closeIdleConnections } = server;
  server.closeIdleConnections = () => {
    closeIdleConnections.call(server);
    migrate.closeParked();
  };
}
