// What an app does with its handover whatever this process' part in one is: listeners, state, work and hooks.

import { describeFd, type SocketAddress } from '../fd/index.js';
import type { ChargeStatus, ListenerStatus } from '../protocol/control-commands.js';
import type { Adopter } from '../protocols/live-protocol.js';
import type { Inherited, Keepable } from '../resources/kept.js';
import type { AppEnding, Lifecycle } from './lifecycle.js';
import { checkCloseHook } from './options.js';
import { warnOfTimeouts } from './request-timeout-warning.js';
import type { Resources } from './resources.js';
import { type StepOptions, Steps } from './steps.js';
import type { CloseHookOptions, Listener, Listening, ListenOptions } from './types.js';

export abstract class AppSide {
  readonly resources: Resources;
  protected readonly lifecycle: Lifecycle;
  readonly mayHandOver: boolean = true;
  readonly drainTimeout: number;
  readonly #steps = new Steps();

  protected constructor(resources: Resources, lifecycle: Lifecycle, drainTimeout: number) {
    this.resources = resources;
    this.lifecycle = lifecycle;
    this.drainTimeout = drainTimeout;
  }

  /** @throws ERR_HANDOVER_CLOSED `what` came too late */
  protected abstract expectOpen(what: string): void;

  /** Whether a successor gets what the app opens now. From COMMIT on none does, and none where this process ends. */
  abstract get handsOver(): boolean;

  abstract close(): Promise<void>;

  get connectionCount(): number {
    return this.resources.servers.connectionCount;
  }

  abstract readonly generation: number;

  announceAtOnce(): void {
    if (this.generation === 1) void this.resources.servers.acceptAll();
    else this.resources.servers.announces = true;
  }

  get unclaimedSockets(): readonly SocketAddress[] {
    const sockets = this.resources.ledger.unclaimedListeners.map(({ fd }) => describeFd(fd).socket?.local);
    return sockets.filter((local) => local !== undefined);
  }

  isListening(name: string): boolean {
    return this.resources.isListening(name);
  }

  get isSupervised(): boolean {
    return this.resources.lender?.isOpen ?? false;
  }

  endAppBy(appEnding: AppEnding): void {
    this.lifecycle.endAppBy(appEnding);
  }

  get unclaimed(): readonly string[] {
    const required = this.resources.ledger.unclaimedListeners.filter(({ isOptional }) => !isOptional);
    return required.map(({ name }) => name);
  }

  async listen(listener: Listener, options: ListenOptions, isOptional: boolean = false): Promise<Listening> {
    const listening = await this.resources.listen(listener, options, isOptional || !this.handsOver);
    warnOfTimeouts(listener, listening.name, this.drainTimeout);
    return listening;
  }

  get listeners(): readonly ListenerStatus[] {
    return this.resources.listeners;
  }

  get charge(): ChargeStatus | undefined {
    return this.resources.arbiter.status;
  }

  adopterOf(listener: string): Adopter | undefined {
    return this.resources.servers.adopterOf(listener);
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
    this.resources.kept.keep(name, value);
  }

  inherited(name: string): Inherited | undefined {
    return this.resources.kept.inherited(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
