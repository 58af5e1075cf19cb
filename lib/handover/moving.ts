// The moving of live connections, on the channel of one handover.
import type { Held } from '../channel/batches.js';
import type { Channel } from '../channel/channel.js';
import { type Movable, Offering, type OfferingChannel } from '../connections/offering.js';
import { HandoverError } from '../errors.js';

export class Moving {
  readonly #channel: Channel;
  #offering: Offering | undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Offers what `candidates` yields whenever `sweep()` is called from a macrotask; `onSettled` as in {@link Offering}. */
  start(candidates: () => Iterable<Movable>, onSettled: () => void): Offering {
    const channel: OfferingChannel = {
      offer: (offer, fds) => this.#channel.send('OFFER', offer, fds),
      go: (batch) => this.#channel.send('GO', { batch }),
    };
    this.#offering = new Offering(channel, candidates, onSettled);
    return this.#offering;
  }

  /** @throws ERR_HANDOVER_PROTOCOL they answer no batch of ours */
  onHeld(held: Held): void {
    try {
      this.#offering?.onHeld(held);
    } catch (cause) {
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', (cause as Error).message, { cause });
    }
  }

  /** As {@link Offering.takeBack}. */
  takeBack(): void {
    this.#offering?.takeBack();
  }
}
