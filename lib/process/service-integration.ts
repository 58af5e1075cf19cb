// Who keeps this process and is told what it is at the moment: the supervisor that started it, or systemd.

import { closeFd, FdSocket } from '../fd/index.js';
import { failureText } from '../handover/outcome.js';
import type { Env } from '../platform/env.js';
import { ServiceManager } from '../platform/service-manager.js';
import { consume, type Start } from '../platform/start.js';
import type { SuccessorProcess } from '../platform/successor-process.js';
import { Channel } from '../protocol/channel.js';
import type { Hello } from '../protocol/frames.js';
import type { CheckedOptions } from './options.js';
import type { Resources } from './resources.js';
import { SupervisorLink, type Worker } from './supervisor-link.js';

export class ServiceIntegration {
  readonly supervisor: SupervisorLink | undefined;
  /** Hears nothing from a worker: its supervisor is the main process of the unit. */
  readonly manager: ServiceManager;
  readonly #env: Env;
  readonly #start: Start;
  readonly #worker: Worker;
  readonly #resources: Resources;
  /** Started by its predecessor, which tells systemd of it, and is its main process until it has. */
  #isHeir = false;
  #isMain = true;

  constructor(env: Env, { systemd }: CheckedOptions, start: Start, worker: Worker & { readonly resources: Resources }) {
    this.#env = env;
    this.#start = start;
    this.#worker = worker;
    this.#resources = worker.resources;
    this.supervisor = SupervisorLink.open(env, worker);
    const told = this.supervisor ? false : systemd;
    this.manager = consume(env, start, () => new ServiceManager(env.variables, env.pid, told));
    this.#resources.lender = this.supervisor;
    this.#resources.onChange = () => this.#store();
  }

  onLeaving(leaveSoon: () => void): void {
    if (this.supervisor) this.supervisor.onLeaving = leaveSoon;
  }

  /**
   * Takes what the environment says of this process. Returns the channel to the predecessor that started it, or in whose place
   * its supervisor did.
   * @throws ERR_HANDOVER_SUPERVISOR_REFUSED the supervisor does not know this process
   */
  greet(): Channel | undefined | Promise<Channel | undefined> {
    this.supervisor?.greet();
    const fd = this.#start.takeChannel();
    if (!this.supervisor?.isDialled)
      return this.#greeted(fd === undefined ? undefined : new Channel(new FdSocket(fd), 'successor'));
    // The wrapper has a copy, which it keeps open when this process ends.
    if (fd !== undefined) closeFd(fd);
    return this.supervisor.channel().then((channel) => this.#greeted(channel));
  }

  #greeted(channel: Channel | undefined): Channel | undefined {
    this.#isHeir = channel !== undefined;
    this.#isMain = !this.#isHeir;
    const kind = { isHeir: this.#isHeir, isLent: this.supervisor !== undefined };
    consume(this.#env, this.#start, () => this.#resources.activate(kind));
    return channel;
  }

  /** One process of many: what there can be one of is the supervisor's. */
  chargesOf(options: CheckedOptions): CheckedOptions {
    return this.supervisor ? { ...options, takeover: undefined, control: undefined, pidFile: undefined } : options;
  }

  /** Whether listeners, and their Unix paths, outlive this process. */
  get keepListeners(): boolean {
    return this.supervisor !== undefined || this.manager.keepsListeners;
  }

  inCharge(generation: number): void {
    this.supervisor?.tell('in-charge');
    if (this.#isHeir) this.manager.watch();
    else this.manager.ready(generation);
    this.#store();
  }

  /** Its predecessor is gone. */
  alone(generation: number, predecessor?: Hello): void {
    if (this.#isHeir) this.manager.alone(generation, predecessor);
    this.#isMain = true;
    this.#store();
  }

  /** Resolves when this process may end. */
  superseded(generation: number, successor: SuccessorProcess): Promise<void> {
    this.supervisor?.tell('superseded');
    return this.manager.superseded(generation, successor);
  }

  /** In charge again, after a successor was. */
  servesOn(generation: number, error: Error): void {
    this.supervisor?.tell('in-charge');
    this.manager.serving(generation, failureText(error));
  }

  /** `isLast`: nobody comes after this process. */
  closing({ isLast }: { readonly isLast: boolean }): void {
    this.supervisor?.tell('closing');
    if (isLast) this.manager.stopping();
  }

  end(): void {
    this.supervisor?.close();
    this.manager.end();
  }

  /** The main process only: systemd may listen to no other. */
  #store(): void {
    if (this.#worker.describe().isInCharge && this.#isMain) this.manager.store(this.#resources.ledger);
  }
}
