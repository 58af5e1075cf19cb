// The moving of live connections, on the channel of one handover.

import type { Held } from '../protocol/batches.js';
import type { Channel } from '../protocol/channel.js';
import type { Movable } from '../protocols/protocol.js';
import { Offering, type OfferingChannel } from './offering.js';

export class Migration {
  readonly #channel: Channel;
  #offering: Offering | undefined;
  #room: number | undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Offers what `candidates` yields whenever `sweep()` is called; `onSettled` as in {@link Offering}. */
  start(candidates: () => Iterable<Movable>, onSettled: () => void): Offering {
    const channel: OfferingChannel = {
      offer: (offer, fds) => this.#channel.send('OFFER', offer, fds),
      go: (batch) => this.#channel.send('GO', { batch }),
    };
    this.#offering = new Offering(channel, candidates, onSettled);
    if (this.#room !== undefined) this.#offering.roomIs(this.#room);
    return this.#offering;
  }

  /** As the successor says, where it does. */
  roomIs(room: number | undefined): void {
    if (room === undefined) return;
    this.#room = room;
    this.#offering?.roomIs(room);
  }

  /** @throws ERR_HANDOVER_PROTOCOL they answer no batch of ours */
  onHeld(held: Held): void {
    this.#offering?.onHeld(held);
  }

  /** Connections the successor was given. */
  get moved(): number {
    return this.#offering?.moved ?? 0;
  }

  /** As {@link Offering.takeBack}. */
  takeBack(): void {
    this.#offering?.takeBack();
  }
}
