// The migration of live connections over the channel of one handover.

import type { Held } from '../protocol/batches.js';
import type { Channel } from '../protocol/channel.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import type { Movable } from '../protocols/protocol.js';
import { Offering, type OfferingChannel } from './offering.js';

export class Migration {
  readonly #channel: Channel;
  readonly #clock: Clock;
  #offering: Offering | undefined;
  #room: number | undefined;

  constructor(channel: Channel, clock: Clock = systemClock) {
    this.#channel = channel;
    this.#clock = clock;
  }

  /** Offers the connections that `candidates` yields at each `sweep()`; `onSettled` as in {@link Offering}. */
  start(candidates: () => Iterable<Movable>, onSettled: () => void): Offering {
    const channel: OfferingChannel = {
      offer: (offer, fds) => this.#channel.send('OFFER', offer, fds),
      go: (batch) => this.#channel.send('GO', { batch }),
    };
    this.#offering = new Offering(channel, candidates, onSettled, this.#clock);
    if (this.#room !== undefined) this.#offering.roomIs(this.#room);
    return this.#offering;
  }

  /** Takes the successor's report of its free descriptors; undefined where it makes none. */
  roomIs(room: number | undefined): void {
    if (room === undefined) return;
    this.#room = room;
    this.#offering?.roomIs(room);
  }

  /** @throws ERR_HANDOVER_PROTOCOL the verdicts answer no batch of this process */
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
