// HTTP/1 connections that have been upgraded: WebSockets and others. WebSockets that cannot migrate are closed with 1012
// between two messages. The migrator (websocket/migrate) is loaded only by apps that ask for it.
import type { Server, Socket } from 'node:net';
import { isUpgraded } from '../sockets/http-server.js';
import { hasBytesWaiting } from './connections.js';
import { speaksPlainHttp1 } from './http1.js';
import type { Counted, Drain, DrainOptions, Migrator, Protocol, Site } from './protocol.js';
import { Upgrades } from './websocket/upgrades.js';

/** What a migrator of upgraded connections gets of its server. */
export interface UpgradeSite extends Site {
  readonly upgrades: Upgrades;
}

export interface UpgradeMigrator extends Migrator {
  /** Resumes the connections that have not been offered: they stay here. */
  resumeAll(): void;
}

type MigratorAt = (site: UpgradeSite) => UpgradeMigrator;

/** Joins the app's migrator with the server's protocol, in whichever order they come. */
interface Meeting {
  migratorAt: MigratorAt | undefined;
  protocol: WebSocket | undefined;
}

const meetings = new WeakMap<Server, Meeting>();

function meetingOf(server: Server): Meeting {
  const meeting = meetings.get(server) ?? { migratorAt: undefined, protocol: undefined };
  meetings.set(server, meeting);
  return meeting;
}

/** Lets the upgraded connections of a server migrate, now or when the handover gets it. */
export function addMigrator(server: Server, migratorAt: MigratorAt): void {
  const meeting = meetingOf(server);
  meeting.migratorAt = migratorAt;
  meeting.protocol?.migrateBy(migratorAt);
}

export function websocket(site: Site): Protocol | undefined {
  const { server } = site;
  if (!('closeIdleConnections' in server)) return undefined;
  const protocol = new WebSocket(site);
  if (!speaksPlainHttp1(server)) return protocol;
  const meeting = meetingOf(server);
  meeting.protocol = protocol;
  if (meeting.migratorAt) protocol.migrateBy(meeting.migratorAt);
  return protocol;
}

class WebSocket implements Protocol, Drain {
  readonly name = 'upgraded';
  readonly endsIdle = false;
  readonly drain = this;
  migrate: UpgradeMigrator | undefined;
  readonly #site: UpgradeSite;
  readonly #upgrades: Upgrades;

  constructor(site: Site) {
    this.#upgrades = new Upgrades(site.server);
    this.#site = { ...site, upgrades: this.#upgrades };
  }

  migrateBy(migratorAt: MigratorAt): void {
    this.migrate = migratorAt(this.#site);
  }

  recognise(socket: Socket): boolean {
    return isUpgraded(socket);
  }

  begin({ moves, spread, timeout }: Required<DrainOptions>): void {
    this.#upgrades.endAll({ moves, spread, timeout });
  }

  stay(): void {
    this.migrate?.resumeAll();
    this.#upgrades.stay();
  }

  stop(): void {
    this.#upgrades.stop();
  }

  /** Busy if bytes wait. Otherwise idle, as far as this process can tell: only the app knows. */
  count(sockets: readonly Socket[]): Counted[] {
    return sockets
      .filter(({ writableEnded }) => !writableEnded)
      .map((socket) => ({ socket, state: hasBytesWaiting(socket) ? 'busy' : 'idle' }));
  }
}
