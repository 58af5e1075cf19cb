// G3, G7: the limits of what is offered: bytes in a batch, connections in the window, room at the successor, descriptors
// here. The connections are played, and so is whoever answers: what is under test is which of them are offered, and when.
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventChannel } from '../../lib/events.js';
import { closeFd, socketpair } from '../../lib/fd/index.js';
import { type Offer, VERDICT, type Verdict } from '../../lib/protocol/batches.js';
import { encodeFrame } from '../../lib/protocol/frames.js';
import type { Movable } from '../../lib/protocols/protocol.js';
import { Offering } from '../../lib/transfer/offering.js';
import { own } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { VirtualClock } from '../process/virtual-clock.js';
import { turns } from './sandbox.js';

expectNoLeaks();

const MIB = 1024 * 1024;
const NOTHING = new Uint8Array(0);

/** A connection that says what becomes of it. */
interface Played {
  readonly movable: Movable;
  /** `offered`, `released`, `resumed`, `resumed for good`, `stays`. */
  readonly fates: string[];
}

interface Scene {
  readonly offering: Offering;
  readonly played: readonly Played[];
  /** Each batch as it was sent. */
  readonly offers: Offer[];
  readonly goes: number[];
  readonly clock: VirtualClock;
  /** How often the candidates were looked for. */
  readonly sweeps: () => number;
  /** How often nothing was outstanding, and nothing could move. */
  readonly settled: () => number;
  /** The fates of all, in their order. */
  readonly fates: () => string[];
  answer(batch: number, verdict: Verdict): void;
}

interface Plan {
  readonly state?: Uint8Array;
  readonly protocol?: string;
  /** In place of a descriptor that can be copied, for the first so many times. */
  readonly fails?: number;
}

function scene(plans: readonly Plan[]): Scene {
  const [fd, other] = socketpair();
  own(fd);
  closeFd(other);
  const offers: Offer[] = [];
  const goes: number[] = [];
  const clock = new VirtualClock();
  let settled = 0;
  let sweeps = 0;
  const played = plans.map(({ state = NOTHING, protocol = 'http1', fails = 0 }): Played => {
    const fates: string[] = [];
    let tries = 0;
    const movable: Movable = {
      listener: 'web',
      protocol,
      identity: fates,
      detach() {
        fates.push('detached');
        // A number nobody has: the copy fails, as it does in a process whose table is full.
        return { fd: tries++ < fails ? fd + 10_000 : fd, head: NOTHING, state };
      },
      release: () => void fates.push('released'),
      resume: ({ forGood }) => void fates.push(forGood ? 'resumed for good' : 'resumed'),
      stay: () => void fates.push('stays'),
    };
    return { movable, fates };
  });
  const offering = new Offering(
    { offer: async (offer) => void offers.push(offer), go: async (batch) => void goes.push(batch) },
    () => {
      sweeps += 1;
      return played.map(({ movable }) => movable);
    },
    () => {
      settled += 1;
    },
    clock,
  );
  onTestFinished(() => offering.takeBack());
  return {
    offering,
    played,
    offers,
    goes,
    clock,
    sweeps: () => sweeps,
    settled: () => settled,
    fates: () => played.map(({ fates }) => fates.join(', ')),
    answer(batch, verdict) {
      const { length = 0 } = offers.find((offer) => offer.batch === batch)?.connections ?? [];
      offering.onHeld({ batch, verdicts: Array(length).fill(verdict) });
    },
  };
}

const many = (count: number, plan: Plan = {}): Plan[] => Array.from({ length: count }, () => plan);
const sizes = ({ offers }: Scene): number[] => offers.map(({ connections }) => connections.length);

describe('bytes', () => {
  test('a batch ends where its state and unread bytes are 4 MiB, and a frame carries each', () => {
    const all = scene(many(10, { state: Buffer.alloc(MIB) }));
    all.offering.sweep();
    expect(sizes(all)).toEqual([4, 4, 2]);
    for (const offer of all.offers) expect(() => encodeFrame('OFFER', offer, offer.connections.length)).not.toThrow();
  });

  test('none of two that are each just within it is left out, and a frame carries both', () => {
    const all = scene(many(3, { state: Buffer.alloc(4 * MIB) }));
    all.offering.sweep();
    expect(sizes(all)).toEqual([1, 1, 1]);
    const two = scene(many(3, { state: Buffer.alloc(4 * MIB - 1) }));
    two.offering.sweep();
    expect(sizes(two)).toEqual([2, 1]);
    for (const offer of two.offers) expect(() => encodeFrame('OFFER', offer, offer.connections.length)).not.toThrow();
  });

  test('one state of 17 MB stays for good, is asked for once, and holds nobody up', async () => {
    const all = scene([{}, { state: Buffer.alloc(17_000_000) }, {}]);
    all.offering.sweep();
    expect(all.fates()).toEqual(['detached', 'detached, resumed for good', 'detached']);
    expect(sizes(all)).toEqual([2]);
    all.answer(1, VERDICT.held);
    all.offering.sweepSoon();
    await turns();
    expect(all.fates()).toEqual(['detached, released', 'detached, resumed for good', 'detached, released']);
    expect([all.goes, all.offering.moved, all.settled() > 0]).toEqual([[1], 2, true]);
  });
});

describe('a descriptor that cannot be copied', () => {
  test('G7: it is served here until the next HELD makes room, and is offered then', async () => {
    const all = scene([...many(64), { fails: 1 }]);
    all.offering.sweep();
    expect([sizes(all), all.fates()[64]]).toEqual([[64], 'detached, resumed']);
    await turns();
    // Nobody tries again while nothing has changed.
    expect(sizes(all)).toEqual([64]);
    all.answer(1, VERDICT.held);
    await turns();
    expect([sizes(all), all.fates()[64]]).toEqual([[64, 1], 'detached, resumed, detached']);
    all.answer(2, VERDICT.held);
    expect(all.offering.moved).toBe(65);
  });

  test('G7: those before it in its batch go, and it comes with those behind it', () => {
    const all = scene([...many(3), { fails: 1 }, ...many(3)]);
    all.offering.sweep();
    expect([sizes(all), all.fates()[3]]).toEqual([[3, 4], 'detached, resumed, detached']);
  });
});

describe('a table that is full before anything is on its way', () => {
  test('G7: it is tried again after 100 ms', async () => {
    const all = scene([{ fails: 1 }]);
    all.offering.sweep();
    expect(all.clock.pending).toBe(1);
    await all.clock.advance(99);
    expect(sizes(all)).toEqual([]);
    await all.clock.advance(1);
    expect(sizes(all)).toEqual([1]);
  });

  test('G7: where something is, its HELD makes room, and no time is waited for', () => {
    const all = scene([...many(64), { fails: 1 }]);
    all.offering.sweep();
    expect([sizes(all), all.clock.pending]).toEqual([[64], 0]);
  });
});

test('no more than four batches wait for their answers', async () => {
  const all = scene(many(400));
  all.offering.sweep();
  expect([sizes(all), all.offering.isOutstanding]).toEqual([[64, 64, 64, 64], true]);
  all.answer(2, VERDICT.held);
  await turns();
  expect(sizes(all)).toHaveLength(5);
});

test('however often it is asked for in one turn, candidates are looked for once', async () => {
  const all = scene(many(2));
  expect(all.offering.isOutstanding).toBe(false);
  for (let i = 0; i < 5; i++) all.offering.sweepSoon();
  expect(all.sweeps()).toBe(0);
  await turns();
  expect([all.sweeps(), sizes(all)]).toEqual([1, [2]]);
  // There is room, and nobody stays for want of it.
  all.offering.roomIs(10);
  await turns();
  expect(all.sweeps()).toBe(1);
});

describe('room at the successor', () => {
  /** What is published of connections that stay for want of room. */
  function told(): string[] {
    const codes: string[] = [];
    const failures = eventChannel('hook-failed');
    const hear = (message: unknown): void => {
      const { name, error } = message as { name: string; error: { code?: string; stillServing?: boolean } };
      codes.push(`${name} ${error.code}${error.stillServing ? '' : ', and serves no more'}`);
    };
    failures.subscribe(hear);
    onTestFinished(() => void failures.unsubscribe(hear));
    return codes;
  }

  test('G3: no more are offered than it has room for, and the others when it has more; that is told once', async () => {
    const codes = told();
    const all = scene(many(5));
    all.offering.roomIs(2);
    all.offering.sweep();
    expect([sizes(all), all.fates().slice(2)]).toEqual([[2], ['stays', 'stays', 'stays']]);
    // Two are on their way: they are among the four.
    all.offering.roomIs(4);
    await turns();
    expect(sizes(all)).toEqual([2, 2]);
    all.offering.roomIs(4);
    await turns();
    expect(sizes(all)).toEqual([2, 2]);
    all.answer(1, VERDICT.held);
    all.answer(2, VERDICT.held);
    all.offering.roomIs(1);
    await turns();
    expect([sizes(all), codes]).toEqual([[2, 2, 1], ['migrate ERR_HANDOVER_DESCRIPTORS']]);
  });

  test('G3: what is on its way is among them, whatever the batches', () => {
    told();
    const all = scene(many(200));
    all.offering.roomIs(70);
    all.offering.sweep();
    expect(sizes(all)).toEqual([64, 6]);
  });

  test('G3: one for which there was none after all is served here, and offered again when there is', async () => {
    const codes = told();
    const all = scene(many(2));
    all.offering.roomIs(10);
    all.offering.sweep();
    all.answer(1, VERDICT.noRoom);
    await turns();
    expect(all.fates()).toEqual(many(2).map(() => 'detached, resumed, stays'));
    // It has none until it says so: nobody tries, and no time is waited for.
    expect(all.clock.pending).toBe(0);
    all.offering.sweep();
    all.offering.roomIs(0);
    await turns();
    expect(sizes(all)).toEqual([2]);
    all.offering.roomIs(1);
    await turns();
    expect([sizes(all), codes]).toEqual([[2, 1], ['migrate ERR_HANDOVER_DESCRIPTORS']]);
  });

  test('G3: where it does not say how much it has, it is asked again a second later', async () => {
    told();
    const all = scene(many(3));
    all.offering.sweep();
    all.answer(1, VERDICT.noRoom);
    all.offering.sweep();
    // Once for all.
    expect(all.clock.pending).toBe(1);
    await all.clock.advance(999);
    expect(sizes(all)).toEqual([3]);
    await all.clock.advance(1);
    expect(sizes(all)).toEqual([3, 3]);
  });

  test('G4: taken back, nothing is tried again', async () => {
    told();
    const all = scene(many(2));
    all.offering.roomIs(1);
    all.offering.sweep();
    all.offering.takeBack();
    all.offering.roomIs(5);
    all.offering.sweepSoon();
    all.offering.sweep();
    await turns();
    expect([sizes(all), all.fates()]).toEqual([[1], ['detached, resumed', 'stays']]);
    expect(() => all.answer(1, VERDICT.held)).toThrow(
      expect.objectContaining({ message: 'HELD of 1 answers no batch 1 of as many', stillServing: true }),
    );
    expect(all.offering.moved).toBe(0);
  });
});

test('a batch is of one protocol, and what waits for the next one comes first in it', () => {
  const all = scene([{}, {}, { protocol: 'websocket' }, {}]);
  all.offering.sweep();
  const protocols = all.offers.map(({ connections }) => connections.map(({ protocol }) => protocol));
  expect(protocols).toEqual([['http1', 'http1'], ['websocket'], ['http1']]);
});

test('settled: nothing is outstanding and nothing can move, and not before', async () => {
  const all = scene(many(1));
  all.offering.sweep();
  await turns();
  expect(all.settled()).toBe(0);
  all.answer(1, VERDICT.refused);
  await turns();
  expect([all.settled(), all.fates(), all.goes]).toEqual([1, ['detached, resumed for good'], [1]]);
});
