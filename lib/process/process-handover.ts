// The `Handover` of the app where the addon is present: listeners, state, work and hooks, in every state of the process.

import { describeFd, type SocketAddress } from '../fd/index.js';
import type { UpgradeOutcome } from '../handover/outcome.js';
import type { Env } from '../platform/env.js';
import type { Start } from '../platform/start.js';
import type { ListenerStatus } from '../protocol/control-commands.js';
import type { DrainingGeneration } from '../protocol/frames.js';
import type { Inherited, Keepable } from '../resources/kept.js';
import { AppDuties, type AppEnding } from './app-duties.js';
import { checkCloseHook } from './call-options.js';
import { Executor } from './executor.js';
import { warnOfOldSpelling } from './old-spellings.js';
import type { CheckedOptions } from './options.js';
import { warnOfTimeouts } from './request-timeout-warning.js';
import { Resources } from './resources.js';
import type { Standby } from './standby.js';
import { type StepOptions, Steps } from './steps.js';
import type { CloseHookOptions, Handover, Listener, Listening, ListenOptions, UpgradeOptions } from './types.js';

export class ProcessHandover implements Handover {
  readonly mayHandOver: boolean = true;
  readonly drainTimeout: number;
  readonly #warmup: CheckedOptions['warmup'];
  readonly #resources: Resources;
  readonly #duties: AppDuties;
  readonly #steps = new Steps();
  readonly #executor: Executor;

  private constructor(env: Env, options: CheckedOptions, start: Start) {
    this.drainTimeout = options.drain.timeout;
    this.#warmup = options.warmup;
    this.#duties = new AppDuties(env.clock);
    this.#resources = new Resources(env);
    this.#executor = new Executor(env, options, start, this.#resources, this.#duties);
  }

  /** Joins the predecessor, if there is one. Returns no promise where there is nothing to wait for. */
  static open(env: Env, options: CheckedOptions, start: Start): ProcessHandover | Promise<ProcessHandover> {
    const handover = new ProcessHandover(env, options, start);
    return handover.#executor.open()?.then(() => handover) ?? handover;
  }

  get generation(): number {
    return this.#executor.generation;
  }

  get isInCharge(): boolean {
    return this.#executor.isInCharge;
  }

  get closing(): AbortSignal {
    return this.#executor.closing;
  }

  get closed(): Promise<void> {
    return this.#executor.closed;
  }

  get draining(): readonly DrainingGeneration[] {
    return this.#executor.draining;
  }

  get handsOver(): boolean {
    return this.#executor.handsOver;
  }

  get connectionCount(): number {
    return this.#resources.servers.connectionCount;
  }

  get listeners(): readonly ListenerStatus[] {
    return this.#resources.listeners;
  }

  get unclaimed(): readonly string[] {
    const required = this.#resources.ledger.unclaimedListeners.filter(({ isOptional }) => !isOptional);
    return required.map(({ name }) => name);
  }

  get unclaimedSockets(): readonly SocketAddress[] {
    const sockets = this.#resources.ledger.unclaimedListeners.map(({ fd }) => describeFd(fd).socket?.local);
    return sockets.filter((local) => local !== undefined);
  }

  get isSupervised(): boolean {
    return this.#resources.lender?.isOpen ?? false;
  }

  announceAtOnce(): void {
    if (this.generation === 1) void this.#resources.servers.acceptAll();
    else this.#resources.servers.announces = true;
  }

  isListening(name: string): boolean {
    return this.#resources.isListening(name);
  }

  async listen(listener: Listener, options: ListenOptions, isOptional: boolean = false): Promise<Listening> {
    const listening = await this.#resources.listen(listener, options, isOptional || !this.handsOver);
    warnOfTimeouts(listener, listening.name, this.drainTimeout);
    return listening;
  }

  ready(): Promise<void> {
    return this.#executor.ready(() => this.#steps.finish(this.#warmup));
  }

  upgrade(options?: UpgradeOptions): Promise<UpgradeOutcome> {
    return this.#executor.upgrade(options);
  }

  prepare(options?: UpgradeOptions): Promise<Standby> {
    return this.#executor.prepare(options);
  }

  step<T>(name: string, run: () => T | Promise<T>, options?: StepOptions): Promise<T> {
    return this.#steps.run(name, run, options);
  }

  endAppBy(appEnding: AppEnding): void {
    this.#duties.endAppBy(appEnding);
  }

  whenInCharge(duty: (signal: AbortSignal) => unknown): void {
    this.#duties.addDuty(duty);
  }

  waitUntil(work: Promise<unknown>): void {
    this.#duties.addWork(work);
  }

  onClose(name: string, hook: () => unknown, options: CloseHookOptions = {}): void {
    this.#duties.addHook({ name, run: hook, ...checkCloseHook(name, hook, options) });
  }

  keep(name: string, value: Keepable | number): void {
    if (typeof value === 'number') {
      warnOfOldSpelling('keep() with a descriptor', 'keepFd()');
      this.keepFd(name, value);
      return;
    }
    this.#executor.expectOpen('keep()');
    this.#resources.kept.keep(name, value);
  }

  keepFd(name: string, fd: number): void {
    this.#executor.expectOpen('keepFd()');
    this.#resources.kept.keepFd(name, fd);
  }

  inherited(name: string): Inherited | undefined {
    return this.#resources.kept.inherited(name);
  }

  close(): Promise<void> {
    return this.#executor.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
