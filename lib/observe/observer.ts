// Subscriptions to the events that catch exceptions: an exception in a plain subscriber would end the process.

import { toError } from '../errors.js';
import { eventChannel, type HandoverEventName, type HandoverEvents, publish } from '../events.js';

/** The subscriptions of one observer. Its errors are published as `hook-failed` under its name, to the other observers only. */
export class Observer {
  readonly #name: string;
  readonly #ends: (() => void)[] = [];
  #isFailing = false;

  constructor(name: string) {
    this.#name = name;
  }

  on<N extends HandoverEventName>(name: N, heard: (payload: HandoverEvents[N]) => void): void {
    const channel = eventChannel(name);
    const listener = (payload: unknown): void => this.guard(() => heard(payload as HandoverEvents[N]));
    channel.subscribe(listener);
    this.#ends.push(() => channel.unsubscribe(listener));
  }

  readonly end = (): void => {
    for (const end of this.#ends.splice(0)) end();
  };

  /** Runs work that may throw, as a subscriber may. */
  guard(work: () => void): void {
    // The observer would get its own `hook-failed`, and may fail again on that.
    if (this.#isFailing) return;
    try {
      work();
    } catch (error) {
      this.#isFailing = true;
      publish('hook-failed', { name: this.#name, error: toError(error) });
      this.#isFailing = false;
    }
  }
}
