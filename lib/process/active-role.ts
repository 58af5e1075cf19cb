// The role of the process in charge: pid file, takeover and control sockets, health endpoint, and the duties of the app.

import type { Endpoint } from '../endpoints/endpoint.js';
import { toEndpoint } from '../endpoints/kinds.js';
import { publish } from '../events.js';
import { dupFd } from '../fd/index.js';
import { type OnDial, TAKEOVER, Takeover } from '../platform/takeover.js';
import type { Channel } from '../protocol/channel.js';
import type { Ledger } from '../resources/ledger.js';
import type { DescriptorReserve } from '../resources/reserve.js';
import type { AppDuties } from './app-duties.js';
import { CONTROL, ControlServer, controlEndpoint, type Methods } from './control.js';
import { HEALTH, HealthEndpoint, type Readiness } from './health-endpoint.js';
import { resolveHost } from './listening.js';
import type { CheckedOptions } from './options.js';
import { PidFile } from './pid-file.js';
import type { Resources } from './resources.js';

/** Handles processes that dial the takeover socket, operators at the control socket, and probes. */
export interface ActiveHandlers {
  readonly onDial: OnDial;
  readonly operations: { readonly methods: Methods; readonly readiness: () => Readiness };
}

export class ActiveRole {
  readonly #options: CheckedOptions;
  readonly #resources: Resources;
  readonly #ledger: Ledger;
  readonly #duties: AppDuties;
  readonly #reserve: DescriptorReserve;
  readonly #handlers: ActiveHandlers;
  readonly #takeover: Takeover | undefined;
  readonly #pidFile: PidFile | undefined;
  readonly #health: HealthEndpoint | undefined;
  #controlEndpoint: Endpoint | undefined;
  /** One for each time in charge: operators of an earlier time may still wait for their answers. */
  readonly #controls: ControlServer[] = [];

  constructor(
    options: CheckedOptions,
    pid: number,
    resources: Resources,
    duties: AppDuties,
    reserve: DescriptorReserve,
    handlers: ActiveHandlers,
  ) {
    const { takeover, pidFile, health } = options;
    this.#options = options;
    this.#reserve = reserve;
    this.#resources = resources;
    this.#ledger = resources.ledger;
    this.#duties = duties;
    this.#handlers = handlers;
    this.#takeover = takeover && new Takeover(takeover);
    this.#pidFile = pidFile === undefined ? undefined : new PidFile(pidFile, pid);
    this.#health = health.endpoint && new HealthEndpoint(handlers.operations.readiness);
  }

  /**
   * Dials the process in charge by the takeover path, and keeps the lock beside it until `unlock()`. Resolves with
   * undefined if no process answers.
   * @returns undefined without the option `takeover`
   */
  dial(timeout: number): Promise<Channel | undefined> | undefined {
    return this.#takeover?.dial(timeout);
  }

  /**
   * Checks the directory of the control socket, and opens the listener of the health endpoint. Probes of a listener that is
   * not inherited are answered from now on. Calls `onFailure` before it rejects.
   * @returns undefined without these two options
   * @throws ERR_HANDOVER_CONTROL_UNSAFE other users can write to the directory; EADDRINUSE, EACCES … as bind(2)
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
    if (control !== undefined) this.#controlEndpoint = controlEndpoint(control);
    if (!health.endpoint) return;
    const { origin } = await this.#resources.open(HEALTH, await resolveHost(toEndpoint(health.endpoint)));
    if (origin !== 'inherited') await this.#answerProbes();
  }

  /** Lets the next starting process dial by the takeover path. */
  unlock(): void {
    this.#takeover?.unlock();
  }

  /**
   * Takes the role: writes the pid file, accepts on the takeover and control sockets, answers probes, and starts the
   * duties.
   * @throws ERR_HANDOVER_PID_FILE; EADDRINUSE, EACCES … as bind(2) for the takeover or control path
   */
  take(): void {
    this.#pidFile?.write();
    this.#acceptTakeover();
    this.#acceptControl();
    this.answerProbes();
    this.unlock();
    this.#duties.takeCharge();
  }

  /**
   * Takes the role where no other process would: publishes a step that fails, such as the pid file on a full disk, and goes
   * on.
   */
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

  /** Answers probes; also before this process is in charge, when its predecessor has ended. */
  answerProbes(): void {
    this.#answerProbes().catch((error: Error) => publish('hook-failed', { name: 'healthEndpoint', error }));
  }

  /** Writes the pid file again. A failure is only published, because this process serves either way. */
  reassert(): void {
    try {
      this.#pidFile?.write();
    } catch (error) {
      publish('hook-failed', { name: 'pidFile', error: error as Error });
    }
  }

  /**
   * Gives the role to another process: stops answering probes, and leaves the pid file and the socket paths to that
   * process.
   */
  async yield(): Promise<void> {
    this.#health?.stop();
    await this.#giveUp();
  }

  /** Gives the role up without a successor: removes the pid file, and answers probes as not ready until `leave()`. */
  async end(): Promise<void> {
    await this.#giveUp();
    this.#pidFile?.remove();
    this.unlock();
  }

  /**
   * Drops the role where another process is in charge, again or still. Resolves when the duties have ended: the other process
   * begins its own when this one releases the arbiter.
   */
  async abandon(): Promise<void> {
    this.#health?.stop();
    this.unlock();
    await this.#giveUp();
  }

  /** The last step: stops answering probes, and closes control connections once their calls have been answered. */
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
    this.#takeover.accept(fd, this.#handlers.onDial, () => this.#reserve.release());
  }

  #acceptControl(): void {
    if (!this.#controlEndpoint) return;
    const { fd } = this.#ledger.get(CONTROL) ?? this.#ledger.listener(CONTROL, this.#controlEndpoint);
    const makeRoom = (): void => this.#reserve.release();
    this.#controls.push(new ControlServer(fd, this.#handlers.operations.methods, { makeRoom }));
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
