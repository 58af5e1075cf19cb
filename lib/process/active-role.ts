// What only the process in charge has: the pid file, the takeover and control sockets, the health endpoint, and the work
// the app does in one generation.

import type { Endpoint } from '../endpoints/endpoint.js';
import { toEndpoint } from '../endpoints/kinds.js';
import { publish } from '../events.js';
import { dupFd } from '../fd/index.js';
import { type OnDial, TAKEOVER, Takeover } from '../platform/takeover.js';
import type { Channel } from '../protocol/channel.js';
import type { Ledger } from '../resources/ledger.js';
import type { DescriptorReserve } from '../resources/reserve.js';
import type { AppDuties } from './app-duties.js';
import { CONTROL, type ControlMethods, ControlServer, controlPlace } from './control.js';
import { HEALTH, HealthEndpoint, type Readiness } from './health-endpoint.js';
import { resolveHost } from './listening.js';
import type { CheckedOptions } from './options.js';
import { PidFile } from './pid-file.js';
import type { Resources } from './resources.js';

/** What the process does for those who come by its sockets. */
export interface ActiveHandlers {
  readonly onDial: OnDial;
  readonly operations: { readonly methods: ControlMethods<'process'>; readonly readiness: () => Readiness };
}

export class ActiveRole {
  readonly #options: CheckedOptions;
  readonly #resources: Resources;
  readonly #ledger: Ledger;
  readonly #duties: AppDuties;
  readonly #reserve: DescriptorReserve;
  readonly #ways: ActiveHandlers;
  readonly #takeover: Takeover | undefined;
  readonly #pidFile: PidFile | undefined;
  readonly #health: HealthEndpoint | undefined;
  #controlPlace: Endpoint | undefined;
  /** One for each turn in charge: operators of an earlier one may still wait for their answer. */
  readonly #controls: ControlServer[] = [];

  constructor(
    options: CheckedOptions,
    pid: number,
    resources: Resources,
    duties: AppDuties,
    reserve: DescriptorReserve,
    ways: ActiveHandlers,
  ) {
    const { takeover, pidFile, health } = options;
    this.#options = options;
    this.#reserve = reserve;
    this.#resources = resources;
    this.#ledger = resources.ledger;
    this.#duties = duties;
    this.#ways = ways;
    this.#takeover = takeover && new Takeover(takeover);
    this.#pidFile = pidFile === undefined ? undefined : new PidFile(pidFile, pid);
    this.#health = health.endpoint && new HealthEndpoint(ways.operations.readiness);
  }

  /** The channel to the process that has it now, found by the takeover path. */
  dial(timeout: number): Promise<Channel | undefined> | undefined {
    return this.#takeover?.dial(timeout);
  }

  /**
   * Looks whether what is needed in charge can be had. Probes of a listener nobody else answers are answered from here on.
   * Undefined where that is said at once.
   * @throws ERR_HANDOVER_CONTROL_UNSAFE; what bind(2) says of the health endpoint
   */
  prepare(onFailure: () => Promise<void>): Promise<void> | undefined {
    const { control, health } = this.#options;
    if (control === undefined && !health.endpoint) return undefined;
    return this.#prepare().catch(async (error: unknown) => {
      await onFailure();
      throw error;
    });
  }

  async #prepare(): Promise<void> {
    const { control, health } = this.#options;
    if (control !== undefined) this.#controlPlace = controlPlace(control);
    if (!health.endpoint) return;
    const { origin } = await this.#resources.open(HEALTH, await resolveHost(toEndpoint(health.endpoint)));
    if (origin !== 'inherited') await this.#answerProbes();
  }

  /** Others may ask for it now. */
  unlock(): void {
    this.#takeover?.unlock();
  }

  /** @throws ERR_HANDOVER_PID_FILE; what bind(2) says of the takeover or control path */
  take(): void {
    this.#pidFile?.write();
    this.#acceptTakeover();
    this.#acceptControl();
    this.answerProbes();
    this.unlock();
    this.#duties.takeCharge();
  }

  /** Nobody else would serve, or do the work: that matters more than a pid file on a full disk. What fails is published. */
  takeAnyhow(name: string): void {
    for (const step of [() => this.#pidFile?.write(), () => this.#acceptTakeover(), () => this.#acceptControl()]) {
      try {
        step();
      } catch (error) {
        publish('hook-failed', { name, error: error as Error });
      }
    }
    this.answerProbes();
    this.unlock();
    this.#duties.takeCharge();
  }

  /** Also before this process is in charge, where no other is left to do so. */
  answerProbes(): void {
    this.#answerProbes().catch((error: Error) => publish('hook-failed', { name: 'healthEndpoint', error }));
  }

  /** As far as the disk lets it: this process serves either way. */
  reassert(): void {
    try {
      this.#pidFile?.write();
    } catch (error) {
      publish('hook-failed', { name: 'pidFile', error: error as Error });
    }
  }

  /** Another process takes it; the files stay for it. */
  async yield(): Promise<void> {
    this.#health?.stop();
    await this.#giveUp();
  }

  /** Nobody takes it: probes are told so until `leave()`. */
  async end(): Promise<void> {
    await this.#giveUp();
    this.#pidFile?.remove();
    this.unlock();
  }

  /** Another process has it again, or still. */
  abandon(): void {
    this.#health?.stop();
    this.#stopAccepting();
    this.unlock();
  }

  /** The last step: operators who wait for the end of this process get their answer, others are hung up on. */
  leave(): void {
    this.#health?.stop();
    for (const control of this.#controls.splice(0)) control.close();
  }

  async #giveUp(): Promise<void> {
    this.#stopAccepting();
    await this.#duties.giveUpCharge();
  }

  #acceptTakeover(): void {
    if (!this.#takeover) return;
    const { fd } = this.#ledger.get(TAKEOVER) ?? this.#ledger.listener(TAKEOVER, this.#takeover.endpoint);
    this.#takeover.accept(fd, this.#ways.onDial, () => this.#reserve.release());
  }

  #acceptControl(): void {
    if (!this.#controlPlace) return;
    const { fd } = this.#ledger.get(CONTROL) ?? this.#ledger.listener(CONTROL, this.#controlPlace);
    const makeRoom = (): void => this.#reserve.release();
    this.#controls.push(new ControlServer(fd, this.#ways.operations.methods, { makeRoom }));
  }

  #stopAccepting(): void {
    this.#takeover?.stop();
    for (const control of this.#controls) control.stop();
  }

  async #answerProbes(): Promise<void> {
    const entry = this.#ledger.get(HEALTH);
    if (entry && this.#health && !this.#health.isAccepting) await this.#health.start({ fd: dupFd(entry.fd) });
  }
}
