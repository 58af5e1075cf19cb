// What an app does with its handover whatever this process' part in one is: listeners, state, work and hooks.
import type { Belongings } from './belongings.js';
import type { Inherited, Keepable } from './kept.js';
import type { Lifecycle } from './lifecycle.js';
import { checkCloseHook } from './options.js';
import type { CloseHookOptions, Listener, Listening, ListenOptions } from './types.js';

export abstract class AppSide {
  readonly belongings: Belongings;
  protected readonly lifecycle: Lifecycle;

  protected constructor(belongings: Belongings, lifecycle: Lifecycle) {
    this.belongings = belongings;
    this.lifecycle = lifecycle;
  }

  /** @throws ERR_HANDOVER_CLOSED `what` came too late */
  protected abstract expectOpen(what: string): void;

  async listen(listener: Listener, options: ListenOptions): Promise<Listening> {
    this.expectOpen('listen()');
    return this.belongings.listen(listener, options);
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
}
