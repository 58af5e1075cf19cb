// `/livez` and `/readyz` for orchestrators: a server of its own, beside the app's, so that neither its traffic nor its
// end is theirs. Its listener goes from generation to generation: a probe is never refused.
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

/** Its listener's name in the ledger. */
export const HEALTH: string = `${RESERVED}health`;

/** What a probe is told. */
export interface Readiness {
  /** Why not; undefined: ready. */
  readonly reason?: string | undefined;
  readonly generation: number;
  readonly pid: number;
}

interface Verdict {
  readonly status: number;
  readonly body: object;
}

/** A probe that says nothing for so long is no probe. */
const PROBE_TIMEOUT = 10_000;
const BACKLOG = 128;
/** Whoever else is connected at the same time is no orchestrator: one more is hung up on. */
const MAX_PROBES = 128;

export class HealthEndpoint {
  readonly #readiness: () => Readiness;
  /** As it was when the probe connected: one that was accepted just before COMMIT found this process ready. */
  readonly #found = new WeakMap<Socket, Readiness>();
  #server: Server | undefined;

  constructor(readiness: () => Readiness) {
    this.#readiness = readiness;
  }

  get isAccepting(): boolean {
    return this.#server !== undefined;
  }

  /** Answers from now on; a descriptor becomes Node's. Does not keep the process alive. */
  start(where: Where): Promise<void> {
    if (this.#server) return Promise.resolve();
    const server = createServer((request, response) => this.#answer(request, response));
    this.#server = server;
    server.keepAliveTimeout = 1;
    server.headersTimeout = PROBE_TIMEOUT;
    server.requestTimeout = PROBE_TIMEOUT;
    // Of those who send nothing at all: Node looks after the other two only every 30 s.
    server.timeout = PROBE_TIMEOUT;
    server.maxConnections = MAX_PROBES;
    server.on('connection', (socket: Socket) => {
      socket.unref();
      this.#found.set(socket, this.#readiness());
    });
    server.unref();
    return new Promise((resolve, reject) => {
      server.once('listening', resolve).once('error', reject);
      outsideCluster(() => server.listen(where, BACKLOG));
    });
  }

  /** Accepts no more; who is connected gets the answer. */
  stop(): void {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    // Node's own close() ends the connections that wait for their answer; it also ends a timer, so it comes last.
    server.once('close', () => server.close(() => {}));
    stopAccepting(server);
  }

  #answer({ url = '', method, socket }: IncomingMessage, response: ServerResponse): void {
    response.setHeader('connection', 'close');
    response.setHeader('cache-control', 'no-store');
    const { status, body } = this.#judge(url.split('?')[0], method, this.#found.get(socket) ?? this.#readiness());
    response.statusCode = status;
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify(body)}\n`);
  }

  #judge(path: string | undefined, method: string | undefined, { reason, ...process }: Readiness): Verdict {
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: { error: 'GET or HEAD' } };
    if (path === '/livez') return { status: 200, body: { live: true, ...process } };
    if (path !== '/readyz') return { status: 404, body: { error: 'there are /livez and /readyz' } };
    if (reason === undefined) return { status: 200, body: { ready: true, ...process } };
    return { status: 503, body: { ready: false, reason, ...process } };
  }
}
