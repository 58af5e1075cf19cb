// `/livez` and `/readyz` for orchestrators. They have a server of their own, so that load and shutdown of the app's servers
// do not affect probes. Its listener goes from generation to generation, so that no probe is refused.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Where } from '../protocols/managed.js';
import { RESERVED } from '../resources/ledger.js';
import { outsideCluster, stopAccepting } from '../sockets/listening.js';

/** Where `/livez` and `/readyz` are answered: a port, or a Unix socket. */
export interface HealthEndpointOptions {
  readonly port?: number;
  /** @default every address */
  readonly host?: string;
  readonly path?: string;
}

/** Name of the health listener in the ledger. */
export const HEALTH: string = `${RESERVED}health`;

/** The state that a probe learns. */
export interface Readiness {
  /** Why the process is not ready; undefined: it is ready. */
  readonly reason?: string | undefined;
  readonly generation: number;
  readonly pid: number;
}

interface Verdict {
  readonly status: number;
  readonly body: object;
}

/** Milliseconds that a probe may take to send its request. */
const PROBE_TIMEOUT = 10_000;
const BACKLOG = 128;
/** Connections at a time, more than orchestrators open; Node closes further ones. */
const MAX_PROBES = 128;

export class HealthEndpoint {
  readonly #readiness: () => Readiness;
  /** The readiness when the probe connected: a probe that was accepted just before COMMIT is answered as ready. */
  readonly #atConnect = new WeakMap<Socket, Readiness>();
  #server: Server | undefined;

  constructor(readiness: () => Readiness) {
    this.#readiness = readiness;
  }

  get isAccepting(): boolean {
    return this.#server !== undefined;
  }

  /** Listens, and answers probes from now on. Node then owns a descriptor in `where`. Does not keep the process alive. */
  start(where: Where): Promise<void> {
    if (this.#server) return Promise.resolve();
    const server = createServer((request, response) => this.#answer(request, response));
    this.#server = server;
    server.keepAliveTimeout = 1;
    server.headersTimeout = PROBE_TIMEOUT;
    server.requestTimeout = PROBE_TIMEOUT;
    // Ends connections that send nothing: Node checks the two timeouts above only every 30 s.
    server.timeout = PROBE_TIMEOUT;
    server.maxConnections = MAX_PROBES;
    server.on('connection', (socket: Socket) => {
      socket.unref();
      this.#atConnect.set(socket, this.#readiness());
    });
    server.unref();
    return new Promise((resolve, reject) => {
      server.once('listening', resolve).once('error', reject);
      outsideCluster(() => server.listen(where, BACKLOG));
    });
  }

  /** Stops accepting; connected probes get their answers. */
  stop(): void {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    // Node's own `close()` ends connections that wait for their answers, so it comes last; it is called for the timer that
    // it ends.
    server.once('close', () => server.close(() => {}));
    stopAccepting(server);
  }

  #answer({ url = '', method, socket }: IncomingMessage, response: ServerResponse): void {
    response.setHeader('connection', 'close');
    response.setHeader('cache-control', 'no-store');
    const { status, body } = this.#judge(url.split('?')[0], method, this.#atConnect.get(socket) ?? this.#readiness());
    response.statusCode = status;
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify(body)}\n`);
  }

  #judge(path: string | undefined, method: string | undefined, { reason, ...process }: Readiness): Verdict {
    if (method !== 'GET' && method !== 'HEAD')
      return { status: 405, body: { error: 'the method must be GET or HEAD' } };
    if (path === '/livez') return { status: 200, body: { live: true, ...process } };
    if (path !== '/readyz') return { status: 404, body: { error: 'the path must be /livez or /readyz' } };
    if (reason === undefined) return { status: 200, body: { ready: true, ...process } };
    return { status: 503, body: { ready: false, reason, ...process } };
  }
}
