// `handover/websocket`: migrates WebSockets and other upgraded connections. Loaded only by apps that import it; the package
// `ws` is the app's, and never imported here.
import type { IncomingMessage } from 'node:http';
import { Server, type Socket } from 'node:net';
import { typeError } from './errors.js';
import { expectOptions } from './fd/arguments.js';
import type { Handover } from './process/types.js';
import {
  attachTo,
  type Movers,
  SocketAttachment,
  type WebSocketLike,
  type WebSocketServerLike,
} from './protocols/websocket/migrate/apps.js';
import { moveUpgraded } from './protocols/websocket/migrate/migrator.js';

export { isMigrated } from './protocols/websocket/migrate/replay.js';
export type { WebSocketLike, WebSocketServerLike };

/** Type of the state in `restore`: bytes arrive as a Buffer, other values through JSON. */
export type Restored<S> = S extends Uint8Array ? Buffer : S;

export interface MigrateUpgradesOptions<C, S> {
  /**
   * Returns the state that the successor needs of this connection, bytes or a JSON value; undefined: the connection stays,
   * and a WebSocket is closed with code 1012. Nothing is read while it runs. What the app sends before it has settled is
   * sent; what the app sends later is sent only if the connection stays after all. Called once in a handover. A rejection
   * counts as undefined, and so does a promise that has not settled after 5 s.
   */
  readonly save: (connection: C) => S | undefined | Promise<S | undefined>;
  /**
   * Called in the successor, after the app's own handlers of 'upgrade' and 'connection' have run for the connection.
   * Nothing is read before it has settled.
   */
  readonly restore: (connection: C, state: Restored<NonNullable<S>>, request: IncomingMessage) => unknown;
  /**
   * Called when a saved connection stays after all, because the successor refused it or failed: resume what `save` stopped.
   */
  readonly stay?: (connection: C) => unknown;
}

export interface MigrateWebSocketsOptions<W, S> extends MigrateUpgradesOptions<W, S> {
  /** The HTTP server, if `wss` was made with `noServer: true`. */
  readonly server?: Server;
}

/**
 * Lets the WebSockets of a server of the package `ws` migrate to the successor: their clients notice nothing.
 *
 * In the successor the original upgrade request runs through the app once more ('upgrade' and 'connection' handlers: see
 * {@link isMigrated}). The app's answer is compared with the first one and not sent, and `restore` gets the state of `save`.
 * In this process the app gets no 'close' of a WebSocket that has migrated. Call this function before connections are
 * accepted, before or after `handover.listen(server)`. It replaces `wss.handleUpgrade` by a wrapper.
 *
 * @throws TypeError a bad or unknown option, or no server
 * @example
 * ```ts
 * import { WebSocketServer } from 'ws';
 * import { serve } from 'handover';
 * import { isMigrated, migrateWebSockets } from 'handover/websocket';
 * const wss = new WebSocketServer({ server });
 * wss.on('connection', (ws, request) => {
 *   if (!isMigrated(request)) ws.send('welcome');
 * });
 * await serve(server, {
 *   port: 8080,
 *   setup: (handover) =>
 *     migrateWebSockets(handover, wss, {
 *       save: (ws) => ({ name: names.get(ws) }),
 *       restore: (ws, { name }) => names.set(ws, name),
 *     }),
 * });
 * ```
 */
export function migrateWebSockets<W extends WebSocketLike, S>(
  handover: Handover,
  wss: WebSocketServerLike<W>,
  options: MigrateWebSocketsOptions<W, S>,
): void {
  expectHandover(handover);
  const movers = expectMovers<W>(options, ['save', 'restore', 'stay', 'server']);
  if (typeof (wss as Partial<typeof wss> | null)?.handleUpgrade !== 'function') {
    throw typeError('wss', 'a WebSocketServer of the ws package', wss);
  }
  const server = options.server ?? (wss as { options?: { server?: unknown } }).options?.server;
  if (!(server instanceof Server)) {
    throw typeError('options.server', 'the HTTP server of wss, which was not made with { server }', server);
  }
  moveUpgraded(server);
  attachTo(wss, movers);
}

/**
 * As {@link migrateWebSockets}, for any server that handles 'upgrade' itself: `save` and `restore` get the socket of the
 * upgrade. For a WebSocket `save` is called between two messages. For another protocol it is called when no bytes wait to
 * be read or written; only the app knows whether the protocol is in the middle of an exchange then.
 *
 * @throws TypeError a bad or unknown option, or called twice for one server
 */
export function migrateUpgrades<S>(
  handover: Handover,
  server: Server,
  options: MigrateUpgradesOptions<Socket, S>,
): void {
  expectHandover(handover);
  if (!(server instanceof Server)) throw typeError('server', 'an http.Server', server);
  moveUpgraded(server, new SocketAttachment(expectMovers(options, ['save', 'restore', 'stay'])));
}

function expectHandover(handover: unknown): void {
  if (typeof (handover as Partial<Handover> | null)?.listen !== 'function') {
    throw typeError('handover', 'the result of openHandover()', handover);
  }
}

function expectMovers<C>(options: unknown, names: readonly string[]): Movers<C> {
  const given = expectOptions('options', options, names);
  for (const name of ['save', 'restore']) {
    if (typeof given[name] !== 'function') throw typeError(`options.${name}`, 'a function', given[name]);
  }
  if (given.stay !== undefined && typeof given.stay !== 'function') {
    throw typeError('options.stay', 'a function', given.stay);
  }
  return given as unknown as Movers<C>;
}
