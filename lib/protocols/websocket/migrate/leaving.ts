// One upgraded connection on its way out of this process: reading stops, the app saves, writing stops, and then the
// connection can be offered.

import { toError } from '../../../errors.js';
import { publish } from '../../../events.js';
import { Fence } from '../../../sockets/fence.js';
import type { UpgradeRequest } from '../../../sockets/upgrade-request.js';
import type { Detached } from '../../protocol.js';
import type { ResponseHead } from '../response-head.js';
import type { Upgraded } from '../upgraded.js';
import { encodeUpgrade } from './state.js';

/** Milliseconds for `save`, in which no process reads from the client. */
const SAVE_TIMEOUT = 5_000;

const NOTHING = new Uint8Array(0);

/** Whether the connection could migrate now: it and the app are between two messages. */
export function canLeave(upgraded: Upgraded): boolean {
  return upgraded.canEverMove && upgraded.isAtBoundary && upgraded.attachment?.isQuiet(upgraded) === true;
}

export class Leaving {
  readonly upgraded: Upgraded;
  /** Whether it is on offer. Only the offer then decides its end. */
  isOffered = false;
  readonly #fence: Fence;
  readonly #onSaved: (leaving: Leaving) => void;
  #timer: NodeJS.Timeout | undefined;
  #hasResumed = false;
  /** `stays`: the app keeps the connection, or its `save` failed; bytes: the saved state. */
  #state: 'saving' | 'stays' | 'over' | Uint8Array = 'saving';

  private constructor(upgraded: Upgraded, fence: Fence, onSaved: (leaving: Leaving) => void) {
    this.upgraded = upgraded;
    this.#fence = fence;
    this.#onSaved = onSaved;
  }

  /**
   * Stops reading, unless `raised` is the fence that has stopped it, and calls the app's `save`. Calls `onSaved` if that
   * takes time. Undefined: this Node cannot stop reading.
   */
  static begin(
    upgraded: Upgraded,
    raised: Fence | undefined,
    onSaved: (leaving: Leaving) => void,
  ): Leaving | undefined {
    const fence = raised ?? Fence.raise(upgraded.socket);
    if (!fence) return undefined;
    const leaving = new Leaving(upgraded, fence, onSaved);
    leaving.#save();
    return leaving;
  }

  get stays(): boolean {
    return this.#state === 'stays';
  }

  /** What to offer; undefined while the app saves, or while bytes that it wrote before are being sent. */
  detach(): Detached | undefined {
    if (!(this.#state instanceof Uint8Array)) return undefined;
    const { socket, outbound } = this.upgraded;
    if (socket.destroyed) return undefined;
    if (socket.writableLength > 0) {
      this.upgraded.stirWhenFlushed();
      return undefined;
    }
    if (!outbound.isBetweenMessages || outbound.hasClosed) {
      // `save` closed the connection, or left a message half written.
      this.#state = 'stays';
      return undefined;
    }
    this.isOffered = true;
    return { fd: this.#fence.fd, head: NOTHING, state: this.#state };
  }

  /** Reads and writes on. Tells the app that the connection stays, if its state was saved. */
  resume(): void {
    const { upgraded } = this;
    const wasSaved = this.#state instanceof Uint8Array;
    this.#hasResumed = true;
    this.#end();
    this.#fence.lift();
    if (wasSaved && !upgraded.socket.destroyed) void tellStays(upgraded);
  }

  /** Closes this process' copy without a FIN, because the successor owns the connection; the app gets no event. */
  release(): void {
    this.#end();
    this.upgraded.attachment?.silence(this.upgraded);
    const error = Object.assign(new Error('this connection has migrated to another process'), { code: 'EPIPE' });
    this.#fence.drop(error);
    this.upgraded.socket.destroy();
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#state = 'over';
  }

  #save(): void {
    const { upgraded } = this;
    let saved: unknown;
    try {
      saved = upgraded.attachment?.save(upgraded);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (!isThenable(saved)) {
      this.#keep(saved);
      return;
    }
    this.#timer = setTimeout(() => {
      this.#fail(new Error(`save() took longer than ${SAVE_TIMEOUT} ms`));
      this.#onSaved(this);
    }, SAVE_TIMEOUT);
    const settle = (act: () => void): void => {
      clearTimeout(this.#timer);
      if (this.#state !== 'saving') {
        // The connection was resumed while the app still saved. The app is told, to start again what its `save` has
        // stopped.
        if (this.#hasResumed && !upgraded.socket.destroyed) void tellStays(upgraded);
        return;
      }
      act();
      this.#onSaved(this);
    };
    saved.then(
      (state) => settle(() => this.#keep(state)),
      (error) => settle(() => this.#fail(error)),
    );
  }

  /**
   * Keeps the state and holds the app's writes from now on: they are not in the state, and are sent only if the connection
   * stays.
   */
  #keep(saved: unknown): void {
    const { request, response } = this.upgraded;
    if (saved === undefined) {
      this.#state = 'stays';
      return;
    }
    try {
      this.#state = encodeUpgrade({ request: request as UpgradeRequest, response: response as ResponseHead, saved });
      this.#fence.hold();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#state = 'stays';
    hookFailed('save', error);
  }
}

async function tellStays(upgraded: Upgraded): Promise<void> {
  try {
    await upgraded.attachment?.stay(upgraded);
  } catch (error) {
    hookFailed('stay', error);
  }
}

/** Publishes what a function of the app threw. */
export function hookFailed(hook: string, thrown: unknown): void {
  const error = toError(thrown);
  publish('hook-failed', { name: `migrate.${hook}`, error });
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
