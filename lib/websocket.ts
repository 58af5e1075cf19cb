// `handover/websocket`: WebSockets, and other upgraded connections, that go on in the successor. Loaded only by apps that
// import it; the `ws` package is theirs, and never imported here.
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

/** What `restore` gets for what `save` gave: bytes come as a Buffer, everything else through JSON. */
export type Restored<S> = S extends Uint8Array ? Buffer : S;

export interface MigrateUpgradesOptions<C, S> {
  /**
   * What the next process must know of this connection: bytes or a JSON value; undefined: it stays here and ends with
   * code 1012. Nothing is read while it runs, and what the app sends before it has settled is sent. What it sends after
   * that is sent only if the connection stays after all. Called once in a handover; a rejection, or 5 s, mean undefined.
   */
  readonly save: (connection: C) => S | undefined | Promise<S | undefined>;
  /**
   * Takes it up, after the app's own handlers of 'upgrade' and 'connection' have seen the connection. Nothing is read
   * before it has settled.
   */
  readonly restore: (connection: C, state: Restored<NonNullable<S>>, request: IncomingMessage) => unknown;
  /** Called where one that was saved stays after all: the successor refused it, or failed. What `save` stopped goes on. */
  readonly stay?: (connection: C) => unknown;
}

export interface MigrateWebSocketsOptions<W, S> extends MigrateUpgradesOptions<W, S> {
  /** The HTTP server, where `wss` was made with `noServer: true`. */
  readonly server?: Server;
}

/**
 * Lets the WebSockets of a server of the `ws` package move to the successor: their clients notice nothing.
 *
 * There the original upgrade request runs through the app once more ('upgrade' and 'connection' handlers: see
 * {@link isMigrated}), its answer is compared with the first one and not sent, and `restore` gets what `save` gave here.
 * This app hears no 'close' of a WebSocket that moved. Call it before connections are accepted, before or after
 * `handover.listen(server)`. It wraps `wss.handleUpgrade`.
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
 * The same for any server on 'upgrade', whatever speaks there: `save` and `restore` get the socket of the upgrade. Of a
 * WebSocket it is asked between two messages; of another protocol when nothing is waiting to be read or written, and
 * where that is in the middle of something only `save` knows.
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
    throw typeError('handover', 'what openHandover() gave', handover);
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
