// Where there is no addon (Windows, a platform without a prebuilt file): servers listen as they always did, and nothing
// is ever handed over.
import type { Where } from '../connections/managed.js';
import { HandoverError } from '../errors.js';
import { expectSupported } from '../fd/index.js';
import type { ListenAddress } from '../ledger/address.js';
import { CloseHooks } from './close-hooks.js';
import { Deferred } from './deferred.js';
import { manage, resolvePlace } from './listening.js';
import { checkCloseHook, checkListenOptions, type HandoverOptions } from './options.js';
import type { UpgradeOutcome } from './predecessor.js';
import { Servers } from './servers.js';
import type { CloseHookOptions, Handover, Listener, Listening, ListenOptions } from './types.js';

export class PlainHandover implements Handover {
  readonly generation = 1;
  readonly #options: Required<HandoverOptions>;
  readonly #servers = new Servers();
  readonly #hooks = new CloseHooks();
  readonly #closing = new AbortController();
  readonly #closed = new Deferred<void>();
  #isReady = false;

  constructor(options: Required<HandoverOptions>) {
    this.#options = options;
  }

  get isInCharge(): boolean {
    return this.#isReady && !this.closing.aborted;
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Binds in `ready()`: until then Node has nothing that would hold the address, and the one returned is as asked. */
  async listen(listener: Listener, options: ListenOptions): Promise<Listening> {
    checkListenOptions(options);
    const { canonical } = await resolvePlace(listener, options);
    const name = options.name ?? canonical;
    const managed = manage(listener, options.backlog, () => this.#servers.remove(name));
    await this.#servers.add(name, managed, () => plainly(options));
    return { name, address: canonical, origin: 'bound' };
  }

  async ready(): Promise<void> {
    await this.#servers.acceptAll();
    this.#isReady = true;
  }

  /** @throws ERR_HANDOVER_UNSUPPORTED with the reason */
  async upgrade(): Promise<UpgradeOutcome> {
    expectSupported();
    throw new HandoverError('ERR_HANDOVER_UNSUPPORTED', 'this process was started without the addon');
  }

  onClose(name: string, hook: () => unknown, options: CloseHookOptions = {}): void {
    this.#hooks.add({ name, run: hook, timeout: checkCloseHook(name, hook, options) });
  }

  async close(): Promise<void> {
    if (!this.closing.aborted) {
      this.#closing.abort();
      this.#servers.suspendAll();
      await this.#servers.drainAll(this.#options.drainTimeout);
      this.#servers.finishAll();
      await this.#hooks.run();
      this.#closed.resolve();
    }
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Node's own names for an address. */
function plainly({ port, host, path, ipv6Only }: ListenAddress): Where {
  return {
    ...(port !== undefined && { port }),
    ...(host !== undefined && { host }),
    ...(path !== undefined && { path }),
    ...(ipv6Only !== undefined && { ipv6Only }),
  };
}
