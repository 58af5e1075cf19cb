// What only the process in charge has: the pid file, the takeover socket, and the work the app does in one generation.
import type { Channel } from '../channel/channel.js';
import { publish } from '../events.js';
import type { Ledger } from '../ledger/ledger.js';
import type { Lifecycle } from './lifecycle.js';
import type { CheckedOptions } from './options.js';
import { PidFile } from './pid-file.js';
import type { DescriptorReserve } from './reserve.js';
import { type OnDial, TAKEOVER, Takeover } from './takeover.js';

export class Charge {
  readonly #ledger: Ledger;
  readonly #lifecycle: Lifecycle;
  readonly #reserve: DescriptorReserve;
  readonly #onDial: OnDial;
  readonly #takeover: Takeover | undefined;
  readonly #pidFile: PidFile | undefined;

  constructor(
    { takeover, pidFile }: CheckedOptions,
    pid: number,
    ledger: Ledger,
    lifecycle: Lifecycle,
    reserve: DescriptorReserve,
    onDial: OnDial,
  ) {
    this.#reserve = reserve;
    this.#ledger = ledger;
    this.#lifecycle = lifecycle;
    this.#onDial = onDial;
    this.#takeover = takeover && new Takeover(takeover);
    this.#pidFile = pidFile === undefined ? undefined : new PidFile(pidFile, pid);
  }

  /** The channel to the process that has it now, found by the takeover path. */
  async dial(timeout: number): Promise<Channel | undefined> {
    return this.#takeover?.dial(timeout);
  }

  /** Others may ask for it now. */
  unlock(): void {
    this.#takeover?.unlock();
  }

  /** @throws ERR_HANDOVER_PID_FILE; what bind(2) says of the takeover path */
  take(): void {
    this.#pidFile?.write();
    this.#acceptTakeover();
    this.unlock();
    this.#lifecycle.takeCharge();
  }

  /** Nobody else would serve, or do the work: that matters more than a pid file on a full disk. What fails is published. */
  takeAnyhow(name: string): void {
    for (const step of [() => this.#pidFile?.write(), () => this.#acceptTakeover()]) {
      try {
        step();
      } catch (error) {
        publish('hook-failed', { name, error: error as Error });
      }
    }
    this.unlock();
    this.#lifecycle.takeCharge();
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
    this.#takeover?.stop();
    await this.#lifecycle.giveUpCharge();
  }

  #acceptTakeover(): void {
    if (!this.#takeover) return;
    const { fd } = this.#ledger.get(TAKEOVER) ?? this.#ledger.listener(TAKEOVER, this.#takeover.place);
    this.#takeover.accept(fd, this.#onDial, () => this.#reserve.release());
  }

  /** Nobody takes it. */
  async end(): Promise<void> {
    await this.yield();
    this.#pidFile?.remove();
  }
}
