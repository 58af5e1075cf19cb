// The `Handover` without the addon (Windows, a platform without a prebuilt file): servers listen plainly, and `upgrade()`
// rejects.

import { kindOf, toEndpoint } from '../endpoints/kinds.js';
import { HandoverError } from '../errors.js';
import { publish } from '../events.js';
import { expectSupported } from '../fd/index.js';
import { tellFailure } from '../handover/handover-record.js';
import { helloOf } from '../handover/identity.js';
import type { UpgradeOutcome } from '../handover/outcome.js';
import { systemClock } from '../protocol/clock.js';
import type { ListenerStatus } from '../protocol/control-commands.js';
import { Deferred } from '../protocol/deferred.js';
import type { DrainingGeneration } from '../protocol/frames.js';
import type { Inherited, Keepable } from '../resources/kept.js';
import { Servers } from '../transfer/servers.js';
import { AppDuties, type AppEnding } from './app-duties.js';
import { checkCloseHook, checkListenOptions, checkUpgradeOptions } from './call-options.js';
import { HealthEndpoint, type Readiness } from './health-endpoint.js';
import { endpointOf, expectMigratable, manage, resolving } from './listening.js';
import type { CheckedOptions } from './options.js';
import { warnOfTimeouts } from './request-timeout-warning.js';
import { drain } from './retirement.js';
import type { Standby } from './standby.js';
import { type StepOptions, Steps } from './steps.js';
import type { CloseHookOptions, Handover, Listener, Listening, ListenOptions, UpgradeOptions } from './types.js';

export class UnsupportedHandover implements Handover {
  readonly generation = 1;
  readonly isSupervised = false;
  readonly mayHandOver = false;
  readonly unclaimed: readonly string[] = [];
  readonly unclaimedSockets: readonly [] = [];
  readonly draining: readonly DrainingGeneration[] = [];
  readonly listeners: readonly ListenerStatus[] = [];
  readonly #options: CheckedOptions;
  readonly #servers = new Servers();
  readonly #duties = new AppDuties();
  readonly #steps = new Steps();
  readonly #closing = new AbortController();
  readonly #closed = new Deferred<void>();
  readonly #health = new HealthEndpoint(() => this.#readiness());
  #isReady = false;

  constructor(options: CheckedOptions) {
    this.#options = options;
  }

  #readiness(): Readiness {
    const reason = this.isInCharge ? undefined : this.closing.aborted ? 'closing' : 'loading';
    return { reason, generation: this.generation, pid: process.pid };
  }

  get connectionCount(): number {
    return this.#servers.connectionCount;
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

  /**
   * Binds only in `ready()`, because without the addon nothing holds the address until Node listens. Returns the address as
   * given.
   */
  async listen(listener: Listener, options: ListenOptions): Promise<Listening> {
    const { migrate, ...address } = checkListenOptions(options);
    expectMigratable(listener, migrate);
    const endpoint = endpointOf(listener, address);
    const { canonical } = endpoint;
    const resolution = resolving(endpoint);
    if (resolution) await resolution;
    const name = options.name ?? canonical;
    const managed = manage(listener, name, options.backlog, () => this.#servers.remove(name));
    await this.#servers.add(name, managed, () => kindOf(endpoint).forNode(address));
    warnOfTimeouts(listener, name, this.#options.drain.timeout);
    publish('listen', { name, address: canonical, origin: 'bound' });
    return { name, address: canonical, origin: 'bound' };
  }

  get handsOver(): boolean {
    return !this.closing.aborted;
  }

  get drainTimeout(): number {
    return this.#options.drain.timeout;
  }

  endAppBy(appEnding: AppEnding): void {
    this.#duties.endAppBy(appEnding);
  }

  announceAtOnce(): void {
    void this.#servers.acceptAll();
  }

  isListening(name: string): boolean {
    return this.#servers.has(name);
  }

  async ready(): Promise<void> {
    const { health, warmup } = this.#options;
    const { endpoint } = health;
    if (endpoint) await this.#health.start(kindOf(toEndpoint(endpoint)).forNode(endpoint));
    await this.#steps.finish(warmup);
    await this.#servers.acceptAll();
    this.#isReady = true;
    this.#duties.takeCharge();
    const { generation } = this;
    publish('in-charge', { handoverId: undefined, generation, claimed: [], unclaimed: [] });
  }

  /** @throws ERR_HANDOVER_UNSUPPORTED with the reason */
  async upgrade(options: UpgradeOptions = {}): Promise<UpgradeOutcome> {
    const asked = checkUpgradeOptions(options);
    try {
      expectSupported();
      throw new HandoverError('ERR_HANDOVER_UNSUPPORTED', 'this process was started without the addon', {
        stillServing: true,
      });
    } catch (error) {
      const { generation } = this;
      tellFailure(helloOf({ pid: process.pid, generation, moves: false }), asked, error);
      throw error;
    }
  }

  /** @throws ERR_HANDOVER_UNSUPPORTED with the reason */
  async prepare(options: UpgradeOptions = {}): Promise<Standby> {
    await this.upgrade(options);
    throw new Error('unreachable');
  }

  step<T>(name: string, run: () => T | Promise<T>, options?: StepOptions): Promise<T> {
    return this.#steps.run(name, run, options);
  }

  whenInCharge(duty: (signal: AbortSignal) => unknown): void {
    this.#duties.addDuty(duty);
  }

  waitUntil(work: Promise<unknown>): void {
    this.#duties.addWork(work);
  }

  /** Does nothing: there is never a successor. */
  keep(_name: string, _value: Keepable | number): void {}

  keepFd(_name: string, _fd: number): void {}

  inherited(_name: string): Inherited | undefined {
    return undefined;
  }

  onClose(name: string, hook: () => unknown, options: CloseHookOptions = {}): void {
    this.#duties.addHook({ name, run: hook, ...checkCloseHook(name, hook, options) });
  }

  async close(): Promise<void> {
    if (!this.closing.aborted) {
      this.#closing.abort();
      this.#servers.suspendAll();
      this.#duties.beginDrain();
      await this.#duties.giveUpCharge();
      const { timeout, idleTimeout, spread } = this.#options.drain;
      const { generation } = this;
      await drain({
        generation,
        servers: this.#servers,
        duties: this.#duties,
        clock: systemClock,
        timeout,
        idleTimeout,
        spread,
      });
      this.#servers.finishAll();
      await this.#duties.runHooks();
      this.#health.stop();
      this.#closed.resolve();
    }
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
