// What an app does with its handover whatever this process' part in one is: listeners, state, work and hooks.
import type { Adopter } from '../connections/holding.js';
import type { Belongings } from './belongings.js';
import type { Inherited, Keepable } from './kept.js';
import type { Lifecycle } from './lifecycle.js';
import { checkCloseHook } from './options.js';
import type { ChargeStatus, ListenerStatus } from './status.js';
import { type StepOptions, Steps } from './steps.js';
import { warnOfTimeouts } from './timeouts.js';
import type { CloseHookOptions, Listener, Listening, ListenOptions } from './types.js';

export abstract class AppSide {
  readonly belongings: Belongings;
  protected readonly lifecycle: Lifecycle;
  readonly #drainTimeout: number;
  readonly #steps = new Steps();

  protected constructor(belongings: Belongings, lifecycle: Lifecycle, drainTimeout: number) {
    this.belongings = belongings;
    this.lifecycle = lifecycle;
    this.#drainTimeout = drainTimeout;
  }

  /** @throws ERR_HANDOVER_CLOSED `what` came too late */
  protected abstract expectOpen(what: string): void;

  /** Whether a successor gets what the app opens now. From COMMIT on none does, and none where this process ends. */
  abstract get handsOver(): boolean;

  abstract close(): Promise<void>;

  get connectionCount(): number {
    return this.belongings.servers.connectionCount;
  }

  /** As an app that knows nothing of a handover expects it: what listens accepts, before `ready()`, unless on standby. */
  acceptAtOnce(): void {
    if (!this.belongings.isStandby) void this.belongings.servers.acceptAll();
  }

  isListening(name: string): boolean {
    return this.belongings.ledger.get(name) !== undefined;
  }

  get isSupervised(): boolean {
    return this.belongings.lender?.isOpen ?? false;
  }

  get unclaimed(): readonly string[] {
    return this.belongings.ledger.report().unclaimed;
  }

  async listen(listener: Listener, options: ListenOptions): Promise<Listening> {
    const listening = await this.belongings.listen(listener, options, !this.handsOver);
    warnOfTimeouts(listener, listening.name, this.#drainTimeout);
    return listening;
  }

  get listeners(): readonly ListenerStatus[] {
    return this.belongings.listeners;
  }

  get charge(): ChargeStatus | undefined {
    return this.belongings.arbiter.status;
  }

  adopterOf(listener: string): Adopter | undefined {
    return this.belongings.servers.adopterOf(listener);
  }

  step<T>(name: string, run: () => T | Promise<T>, options?: StepOptions): Promise<T> {
    return this.#steps.run(name, run, options);
  }

  protected getReady(warmup: (() => unknown) | undefined): Promise<void> {
    return this.#steps.finish(warmup);
  }

  whenInCharge(duty: (signal: AbortSignal) => unknown): void {
    this.lifecycle.addDuty(duty);
  }

  waitUntil(work: Promise<unknown>): void {
    this.lifecycle.addWork(work);
  }

  onClose(name: string, hook: () => unknown, options: CloseHookOptions = {}): void {
    this.lifecycle.addHook({ name, run: hook, ...checkCloseHook(name, hook, options) });
  }

  keep(name: string, value: Keepable): void {
    this.expectOpen('keep()');
    this.belongings.kept.keep(name, value);
  }

  inherited(name: string): Inherited | undefined {
    return this.belongings.kept.inherited(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
