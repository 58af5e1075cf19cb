// The giving side of rebalancing: a worker that leaves gives its live connections in turn to the workers that stay.

import { HandoverError } from '../errors.js';
import { closeFds } from '../fd/index.js';
import type { Held } from '../protocol/batches.js';
import type { Channel } from '../protocol/channel.js';
import { type Clock, systemClock } from '../protocol/clock.js';
import { settlesWithin } from '../protocol/deadline.js';
import { type Hello, negotiate } from '../protocol/frames.js';
import { HELD_TIMEOUT, LEAVE_GRACE } from '../protocol/timeouts.js';
import type { Movable } from '../protocols/protocol.js';
import { Migration } from './migration.js';
import type { Offering } from './offering.js';
import type { Servers } from './servers.js';

/** Milliseconds between two looks whether a target answers. */
const LOOK_INTERVAL = 1_000;

/** A worker that stays. */
class RebalanceTarget {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #moving: Migration;
  #offering: Offering | undefined;
  #stopLooking: (() => void) | undefined;
  /** Looks since its last answer in which an offer waited for one. */
  #unanswered = 0;
  /** It has been told that nothing is its own: what it still answers is too late. */
  #isGivenUp = false;

  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
    this.#moving = new Migration(channel, clock);
  }

  get moved(): number {
    return this.#offering?.moved ?? 0;
  }

  /** Offers `candidates` to the worker until it is gone. `onGone`: the outstanding offers are taken back. */
  async run(hello: Hello, candidates: () => Iterable<Movable>, onGone: () => void): Promise<void> {
    try {
      await this.#channel.send('HELLO', hello);
      for await (const frame of this.#channel) {
        closeFds(frame.fds);
        if (frame.name === 'HELLO') {
          this.#expectMoving(hello, frame.payload);
          this.#offering = this.#moving.start(candidates, () => {});
          this.#offering.sweepSoon();
          this.#stopLooking = this.#clock.every(LOOK_INTERVAL, () => this.#look(), { isUnref: true });
        } else if (frame.name === 'HELD') this.#onHeld(frame.payload);
        else
          throw new HandoverError('ERR_HANDOVER_PROTOCOL', `a process that is given connections sent ${frame.name}`, {
            stillServing: true,
          });
      }
    } catch {
      // Connections without GO stay here, whatever the worker did; the ABORT tells it so.
      await this.#channel.send('ABORT', {}).catch(() => {});
    } finally {
      this.#stopLooking?.();
      this.#channel.close();
      this.#moving.takeBack();
      onGone();
    }
  }

  #onHeld(held: Held): void {
    if (this.#isGivenUp) return;
    this.#unanswered = 0;
    this.#moving.onHeld(held);
  }

  /** One that is hung would keep its share, unread, until the drain cuts it. */
  #look(): void {
    this.#unanswered = this.#offering?.isOutstanding ? this.#unanswered + 1 : 0;
    if (this.#unanswered * LOOK_INTERVAL >= HELD_TIMEOUT && !this.#isGivenUp) void this.#giveUp();
  }

  /** Taken back is what it was offered once it will read that before anything that would give it: not where ABORT cannot be sent. */
  async #giveUp(): Promise<void> {
    this.#isGivenUp = true;
    const told = this.#channel.send('ABORT', {}).catch(() => {});
    if (await settlesWithin(told, LEAVE_GRACE, this.#clock)) this.#channel.close();
  }

  #expectMoving(hello: Hello, peer: Hello): void {
    negotiate(hello, peer);
    if (peer.capabilities.includes('move')) return;
    throw new HandoverError('ERR_HANDOVER_UNSUPPORTED', 'the other process takes no connections', {
      stillServing: true,
    });
  }

  get isReady(): boolean {
    return this.#offering !== undefined;
  }

  sweepSoon(): void {
    this.#offering?.sweepSoon();
  }

  /** Tells the worker that no more connections will come. */
  async retire(): Promise<void> {
    await settlesWithin(
      this.#channel.send('RETIRE', {}).catch(() => {}),
      LEAVE_GRACE,
      this.#clock,
    );
    this.#channel.close();
  }
}

/** Owns the channels, and migrates connections to the workers at their other ends until the returned function is called. */
export function giveTo(
  channels: readonly Channel[],
  hello: Hello,
  servers: Servers,
  clock: Clock = systemClock,
): () => Promise<number> {
  const targets = channels.map((channel) => new RebalanceTarget(channel, clock));
  const isGone = new Set<RebalanceTarget>();
  const shares = new WeakMap<object, RebalanceTarget>();
  let next = 0;
  const targetOf = (movable: Movable): RebalanceTarget | undefined => {
    const known = shares.get(movable.identity);
    if (known && !isGone.has(known)) return known;
    // A worker without HELLO may be hung: its share must not wait for it.
    const left = targets.filter((target) => target.isReady && !isGone.has(target));
    const target = left[next++ % Math.max(1, left.length)];
    if (target) shares.set(movable.identity, target);
    return target;
  };
  const sweepAll = (): void => {
    for (const target of targets) target.sweepSoon();
  };
  for (const target of targets) {
    const candidates = function* (): Generator<Movable> {
      for (const movable of servers.movable()) if (targetOf(movable) === target) yield movable;
    };
    void target.run(hello, candidates, () => {
      isGone.add(target);
      if (isGone.size < targets.length) sweepAll();
      else servers.stayAll();
    });
  }
  const stopWatching = servers.whenMovable(sweepAll);
  return async () => {
    stopWatching();
    await Promise.all(targets.map((target) => target.retire()));
    return targets.reduce((sum, { moved }) => sum + moved, 0);
  };
}
