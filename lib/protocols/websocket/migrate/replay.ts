// One upgraded connection on its way into this process. The upgrade is replayed, so that the app's own handlers run, on a
// socket that neither reads nor writes. The app's answer is compared with the response that the client got, and discarded.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { closeFds } from '../../../fd/index.js';
import { Fence } from '../../../sockets/fence.js';
import { socketForUpgrade } from '../../../sockets/new-socket.js';
import { rebuildRequest } from '../../../sockets/upgrade-request.js';
import type { HeldConnection, Hold } from '../../protocol.js';
import type { UpgradeSite } from '../../websocket.js';
import { isSamePromise, parseResponseHead } from '../response-head.js';
import type { Upgraded } from '../upgraded.js';
import { hookFailed, isThenable } from './leaving.js';
import { decodeUpgrade, type UpgradeState } from './state.js';

/** Milliseconds for the app to answer the upgrade. */
const ANSWER_TIMEOUT = 5_000;

const migrated = new WeakSet<IncomingMessage>();

/** Whether a request is the replay of a connection that has migrated here. */
export function isMigrated(request: IncomingMessage): boolean {
  return migrated.has(request);
}

/** Replays the upgrade of an offered connection, and owns its descriptor. Undefined if the app answers differently now. */
export function replay(site: UpgradeSite, fd: number, bytes: Uint8Array): Hold | Promise<Hold> {
  let socket: Socket;
  let state: UpgradeState;
  try {
    state = decodeUpgrade(bytes);
    socket = socketForUpgrade(site.server, fd);
  } catch {
    closeFds([fd]);
    return undefined;
  }
  site.connections.add(socket);
  const fence = Fence.raise(socket);
  const request = rebuildRequest(socket, state.request, site.server);
  if (!fence || !request || !site.upgrades.hasApp) {
    socket.destroy();
    return undefined;
  }
  const upgraded = site.upgrades.adopt(socket, state.request, state.response.upgrade === 'websocket');
  upgraded.response = state.response;
  upgraded.isArriving = true;
  return new Replay(site, upgraded, fence, request, state).run();
}

class Replay implements HeldConnection {
  readonly #site: UpgradeSite;
  readonly #upgraded: Upgraded;
  readonly #fence: Fence;
  readonly #request: IncomingMessage;
  readonly #state: UpgradeState;
  #hear: () => void = () => {};

  constructor(site: UpgradeSite, upgraded: Upgraded, fence: Fence, request: IncomingMessage, state: UpgradeState) {
    this.#site = site;
    this.#upgraded = upgraded;
    this.#fence = fence;
    this.#request = request;
    this.#state = state;
  }

  run(): Hold | Promise<Hold> {
    const { socket } = this.#upgraded;
    migrated.add(this.#request);
    this.#fence.hold({ destroy: true, hear: () => this.#hear() });
    try {
      this.#site.server.emit('upgrade', this.#request, socket, Buffer.alloc(0));
    } catch (error) {
      hookFailed('upgrade', error);
      return this.#refuse();
    }
    const answer = this.#answer();
    if (answer !== 'none') return this.#conclude(answer);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(this.#refuse()), ANSWER_TIMEOUT);
      timer.unref();
      this.#hear = () => {
        if (this.#answer() === 'none') return;
        this.#hear = () => {};
        clearTimeout(timer);
        // The app attaches to the socket only after it has written its answer.
        setImmediate(() => resolve(this.#conclude(this.#answer())));
      };
    });
  }

  go(): void {
    const { attachment } = this.#upgraded;
    this.#fence.resumeWriting();
    // The app has ended the connection meanwhile.
    if (this.#upgraded.socket.destroyed) return;
    let restored: unknown;
    try {
      restored = attachment?.restore(this.#state.saved, this.#request, this.#upgraded);
    } catch (error) {
      this.#onRestoreFailed(error);
    }
    if (!isThenable(restored)) {
      this.#arrive();
      return;
    }
    // Read on only when the app has restored its state: it must know the client before it gets messages.
    restored.then(
      () => this.#arrive(),
      (error) => {
        this.#onRestoreFailed(error);
        this.#arrive();
      },
    );
  }

  /** Reads on. From now on the connection may migrate again. */
  #arrive(): void {
    this.#fence.resumeReading();
    this.#upgraded.isArriving = false;
    this.#upgraded.stir();
  }

  abort(): void {
    this.#upgraded.attachment?.silence(this.#upgraded);
    this.#fence.drop(new Error('the predecessor has taken this connection back'));
    this.#upgraded.socket.destroy();
  }

  /** Bytes of the app's answer, if it is the same as before; otherwise `wrong`, or `none` so far. */
  #answer(): number | 'wrong' | 'none' {
    const written: Uint8Array[] = [];
    for (const call of this.#fence.calls) {
      if (call.name === 'write') written.push(call.bytes);
      else return 'wrong';
    }
    try {
      const found = parseResponseHead(Buffer.concat(written));
      if (!found) return 'none';
      return isSamePromise(found.head, this.#state.response) ? found.length : 'wrong';
    } catch {
      return 'wrong';
    }
  }

  #conclude(answer: number | 'wrong' | 'none'): Hold {
    if (typeof answer !== 'number' || !this.#upgraded.attachment) return this.#refuse();
    this.#fence.swallow(answer);
    return this;
  }

  /** Ends the socket for the app. The client does not notice: the predecessor keeps the connection. */
  #refuse(): undefined {
    this.#hear = () => {};
    this.#fence.drop(new Error('the app answered the upgrade in another way than the predecessor did'));
    this.#upgraded.socket.destroy();
    return undefined;
  }

  #onRestoreFailed(error: unknown): void {
    hookFailed('restore', error);
    this.#upgraded.socket.destroy();
  }
}
