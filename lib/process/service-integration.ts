// Tells the state of this process to the supervisor that started it, or to systemd.

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
  /** The link to systemd. A worker tells systemd nothing, because its supervisor is the main process of the unit. */
  readonly manager: ServiceManager;
  readonly #env: Env;
  readonly #start: Start;
  readonly #worker: Worker;
  readonly #resources: Resources;
  /** Whether this process has a predecessor, which tells systemd of it. */
  #isSuccessor = false;
  /** Whether this process is the main process of the unit: a successor is only when its predecessor has ended. */
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
   * Reads and removes the variables that are meant for this process. Returns the channel to the predecessor that started
   * this process, or in whose place the supervisor did; undefined without a predecessor.
   * @throws ERR_HANDOVER_SUPERVISOR_REFUSED the supervisor does not know this process; ERR_HANDOVER_ACTIVATION
   */
  greet(): Channel | undefined | Promise<Channel | undefined> {
    this.supervisor?.greet();
    const fd = this.#start.takeChannel();
    if (!this.supervisor?.isDialled)
      return this.#greeted(fd === undefined ? undefined : new Channel(new FdSocket(fd), 'successor'));
    // A wrapper has a copy of this descriptor and keeps it open after the end of this process, so the supervisor gives a
    // new channel.
    if (fd !== undefined) closeFd(fd);
    return this.supervisor.channel().then((channel) => this.#greeted(channel));
  }

  #greeted(channel: Channel | undefined): Channel | undefined {
    this.#isSuccessor = channel !== undefined;
    this.#isMain = !this.#isSuccessor;
    const kind = { isSuccessor: this.#isSuccessor, isLent: this.supervisor !== undefined };
    consume(this.#env, this.#start, () => this.#resources.activate(kind));
    return channel;
  }

  /**
   * The options that hold for this process: of several workers none has the takeover socket, control socket or pid file.
   */
  ownOptions(options: CheckedOptions): CheckedOptions {
    return this.supervisor ? { ...options, takeover: undefined, control: undefined, pidFile: undefined } : options;
  }

  /** Whether listeners, and their Unix paths, outlive this process. */
  get keepListeners(): boolean {
    return this.supervisor !== undefined || this.manager.keepsListeners;
  }

  inCharge(generation: number): void {
    this.supervisor?.tell('in-charge');
    if (this.#isSuccessor) this.manager.watch();
    else this.manager.ready(generation);
    this.#store();
  }

  /** Called when the predecessor has ended. */
  alone(generation: number, predecessor?: Hello): void {
    if (this.#isSuccessor) this.manager.alone(generation, predecessor);
    this.#isMain = true;
    this.#store();
  }

  /** Called when the successor is in charge. Resolves when systemd has read that, so that this process may end. */
  superseded(generation: number, successor: SuccessorProcess): Promise<void> {
    this.supervisor?.tell('superseded');
    return this.manager.superseded(generation, successor);
  }

  /** Called when this process is in charge again after its successor failed. */
  servesOn(generation: number, error: Error): void {
    this.supervisor?.tell('in-charge');
    this.manager.serving(generation, failureText(error));
  }

  /** `isLast`: no process follows this one. */
  closing({ isLast }: { readonly isLast: boolean }): void {
    this.supervisor?.tell('closing');
    if (isLast) this.manager.stopping();
  }

  end(): void {
    this.supervisor?.close();
    this.manager.end();
  }

  /** Only the main process stores listeners: systemd may ignore any other (NotifyAccess=). */
  #store(): void {
    if (this.#worker.describe().isInCharge && this.#isMain) this.manager.store(this.#resources.ledger);
  }
}
