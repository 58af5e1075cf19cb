// Migrates upgraded connections, each as soon as it is between two messages. Loaded only by apps that ask for it.

import type { Server } from 'node:net';
import { typeError } from '../../../errors.js';
import { closeFds } from '../../../fd/index.js';
import type { OfferedConnection } from '../../../protocol/batches.js';
import type { Detached, Hold, Movable } from '../../protocol.js';
import { addMigrator, type UpgradeMigrator, type UpgradeSite } from '../../websocket.js';
import type { Attachment, Upgraded } from '../upgraded.js';
import { canLeave, Leaving } from './leaving.js';
import { Pauses } from './pauses.js';
import { replay } from './replay.js';

/** The attachments that the app has asked for on one server. */
interface Apps {
  /** For connections that no WebSocket library of the app has taken; undefined: they stay. */
  generic: Attachment | undefined;
  onGeneric: ((generic: Attachment) => void) | undefined;
}

const appsOf = new WeakMap<Server, Apps>();

/**
 * Lets the upgraded connections of a server migrate. `generic` takes those without another attachment.
 * @throws TypeError `generic` is given a second time
 */
export function moveUpgraded(server: Server, generic?: Attachment): void {
  const known = appsOf.get(server);
  const apps: Apps = known ?? { generic: undefined, onGeneric: undefined };
  if (generic) {
    if (apps.generic) throw typeError('server', 'one that migrateUpgrades() has not been called for already', server);
    apps.generic = generic;
    apps.onGeneric?.(generic);
  }
  if (known) return;
  appsOf.set(server, apps);
  addMigrator(server, (site) => new WebSocketMigrator(site, apps));
}

export class WebSocketMigrator implements UpgradeMigrator {
  readonly protocol = 'websocket';
  readonly canMove = true;
  readonly #site: UpgradeSite;
  readonly #leaving = new Map<Upgraded, Leaving>();
  readonly #pauses = new Pauses();
  #onMovable: (() => void) | undefined;

  constructor(site: UpgradeSite, apps: Apps) {
    this.#site = site;
    site.upgrades.keepsRequests = true;
    site.upgrades.attachment = apps.generic;
    apps.onGeneric = (generic) => {
      site.upgrades.attachment = generic;
    };
  }

  hold(fd: number, { head, state }: OfferedConnection): Hold | Promise<Hold> {
    if (head.length === 0) return replay(this.#site, fd, state);
    closeFds([fd]);
    return undefined;
  }

  *movable(): Generator<Movable> {
    for (const upgraded of this.#site.upgrades.connections) {
      if (this.#leaving.has(upgraded) || canLeave(upgraded)) yield this.#toMovable(upgraded);
      else if (upgraded.canEverMove && upgraded.socket.writableLength > 0) upgraded.stirWhenFlushed();
    }
  }

  whenMovable(callback: () => void): () => void {
    this.#onMovable = callback;
    this.#pauses.reset();
    const looked = new Set<Upgraded>();
    this.#site.upgrades.watcher = (upgraded) => {
      if (looked.has(upgraded)) return;
      looked.add(upgraded);
      setImmediate(() => {
        looked.delete(upgraded);
        this.#look(upgraded);
      });
    };
    return () => {
      this.#onMovable = undefined;
      this.#site.upgrades.watcher = undefined;
      this.resumeAll();
    };
  }

  /** Looks at a connection on which something happened: it may be able to migrate now, or when the app has answered. */
  #look(upgraded: Upgraded): void {
    if (!this.#onMovable) return;
    const isLeaving = this.#leaving.has(upgraded);
    if (!isLeaving) this.#pauses.update(upgraded);
    if (isLeaving || canLeave(upgraded)) this.#onMovable();
    else if (upgraded.canEverMove && upgraded.socket.writableLength > 0) upgraded.stirWhenFlushed();
  }

  #toMovable(upgraded: Upgraded): Movable {
    return {
      listener: this.#site.name,
      protocol: this.protocol,
      identity: upgraded,
      detach: () => this.#detach(upgraded),
      release: () => {
        const leaving = this.#leaving.get(upgraded);
        this.#leaving.delete(upgraded);
        leaving?.release();
      },
      stay: () => this.#resume(upgraded),
      resume: ({ forGood }) => {
        this.#resume(upgraded);
        if (forGood) this.#site.upgrades.end(upgraded);
      },
    };
  }

  #detach(upgraded: Upgraded): Detached | undefined {
    let leaving = this.#leaving.get(upgraded);
    if (!leaving) {
      // The connection may have become busy since `movable()`.
      if (!canLeave(upgraded)) return undefined;
      leaving = Leaving.begin(upgraded, this.#pauses.take(upgraded), (later) => this.#onSaved(later));
      if (!leaving) {
        this.#site.upgrades.end(upgraded);
        return undefined;
      }
      this.#leaving.set(upgraded, leaving);
      upgraded.socket.once('close', () => this.#leaving.delete(upgraded));
    }
    const detached = leaving.detach();
    if (leaving.stays) {
      this.#resume(upgraded);
      this.#site.upgrades.end(upgraded);
    }
    return detached;
  }

  #onSaved({ upgraded }: Leaving): void {
    setImmediate(() => this.#onMovable?.());
    upgraded.stir();
  }

  #resume(upgraded: Upgraded): void {
    this.#pauses.end(upgraded);
    const leaving = this.#leaving.get(upgraded);
    this.#leaving.delete(upgraded);
    leaving?.resume();
  }

  /** Resumes the connections that are not on offer; the offer takes back the others. */
  resumeAll(): void {
    this.#pauses.endAll();
    for (const [upgraded, leaving] of this.#leaving) if (!leaving.isOffered) this.#resume(upgraded);
  }
}
