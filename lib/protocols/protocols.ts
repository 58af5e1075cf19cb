// How a protocol that is loaded only when used (handover/websocket) reaches the server it is for: before or after the
// handover was given that server.
import type { Server, Socket } from 'node:net';
import type { LiveProtocol } from './live-protocol.js';
import type { Upgrades } from './upgrades.js';

/** What a protocol gets of the server it works for. */
export interface Site {
  readonly server: Server;
  /** The listener's, as the ledger has it. */
  readonly name: string;
  readonly upgrades: Upgrades;
  /** Adds a connection that was moved here. */
  track(socket: Socket): void;
}

export type ProtocolFactory = (site: Site) => LiveProtocol;

interface Entry {
  readonly factories: ProtocolFactory[];
  add: ((factory: ProtocolFactory) => void) | undefined;
}

const entries = new WeakMap<Server, Entry>();

function entryOf(server: Server): Entry {
  const entry = entries.get(server) ?? { factories: [], add: undefined };
  entries.set(server, entry);
  return entry;
}

/** Adds a protocol to a server, now or when the handover gets it. */
export function addProtocol(server: Server, factory: ProtocolFactory): void {
  const { factories, add } = entryOf(server);
  factories.push(factory);
  add?.(factory);
}

/** Calls `add` for each protocol of a server that was added, and for each that will be. */
export function whenProtocolAdded(server: Server, add: (factory: ProtocolFactory) => void): void {
  const entry = entryOf(server);
  entry.add = add;
  for (const factory of entry.factories) add(factory);
}
