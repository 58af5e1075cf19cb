// How those who look on listen to the events: by an exception in a subscriber the process would end.

import { toError } from '../errors.js';
import { eventChannel, type HandoverEventName, type HandoverEvents, publish } from '../events.js';

/** The subscriptions of one who looks on. What it throws is published as `hook-failed`, by its name, to the others only. */
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

  /** Runs what may fail as a subscriber may. */
  guard(work: () => void): void {
    // It would fail again, and be told of that, too.
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
