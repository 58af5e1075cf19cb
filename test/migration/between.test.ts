// The moments between two of the transfer's own: a death while the app is asked, a process that is superseded itself, a
// full table, an app that closes its server.
import { describe, expect, test } from 'vitest';
import { closeFd, socketpair } from '../../lib/fd/index.js';
import { type OfferedConnection, VERDICT } from '../../lib/protocol/batches.js';
import type { Hold, Migrator, Movable } from '../../lib/protocols/protocol.js';
import { Holding } from '../../lib/transfer/holding.js';
import { Offering } from '../../lib/transfer/offering.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { counted, PREDECESSOR, type Site, SUCCESSOR, site, Transfer, turns } from './sandbox.js';
import { Wire } from './wire.js';

expectNoLeaks();

const NOTHING = new Uint8Array(0);
const ONE: OfferedConnection = { listener: 'web', protocol: 'asked', head: NOTHING, state: NOTHING };

async function connected(to: Site, count: number): Promise<Wire[]> {
  const clients = Array.from({ length: count }, () => new Wire(to.port));
  for (const client of clients) await client.connected();
  await counted(to, count);
  await turns();
  return clients;
}

describe('G5: while the app is still asked about a batch', () => {
  /** A protocol whose app answers when the test says so; what becomes of the connection. */
  function asked(): { holding: Holding; answer: () => void; became: string[]; answered: number[] } {
    const became: string[] = [];
    const answered: number[] = [];
    const [fd, other] = socketpair();
    closeFd(other);
    let resolve: (hold: Hold) => void = () => {};
    const protocol = { protocol: 'asked', hold: () => new Promise<Hold>((settle) => (resolve = settle)) };
    const holding = new Holding(() => () => protocol as unknown as Migrator);
    holding.hold({ batch: 1, connections: [ONE] }, Int32Array.of(fd), ({ batch }) => answered.push(batch));
    const end = (word: string) => () => {
      became.push(word);
      closeFd(fd);
    };
    return { holding, became, answered, answer: () => resolve({ go: end('ours'), abort: end('given back') }) };
  }

  test('the predecessor dies: it is adopted when the app has answered, and waited for', async () => {
    const { holding, answer, became, answered } = asked();
    let isOver = false;
    const over = holding.goAll().then(() => {
      isOver = true;
    });
    await turns();
    expect([isOver, became]).toEqual([false, []]);
    answer();
    await over;
    expect([became, answered, holding.adopted]).toEqual([['ours'], [], 1]);
  });

  test('this process leaves: the predecessor takes it back, and nobody answers', async () => {
    const { holding, answer, became, answered } = asked();
    await holding.settled();
    answer();
    await turns();
    expect([became, answered, holding.adopted]).toEqual([['given back'], [], 0]);
  });
});

test('G3: what arrives in a process that hands over itself is moved on', async () => {
  const [first, second, third] = [await site(PREDECESSOR), await site(SUCCESSOR), await site(3)];
  const clients = await connected(first, 3);
  const onward = Transfer.between(second, third);
  onward.run();
  const stop = second.managed.whenMovable(() => onward.offering.sweepSoon());
  const transfer = Transfer.between(first, second);
  transfer.run();
  transfer.offering.sweep();
  await until(() => third.managed.connectionCount === 3, { what: 'the connections to be moved twice' });
  stop();
  for (const client of clients) expect((await client.ask('/')).pid).toBe(3);
});

test('G3: a descriptor that cannot be copied for now is offered again, also where no HELD makes room', async () => {
  const [fd, other] = socketpair();
  closeFd(other);
  const closed = fd + 10_000;
  const resumed: boolean[] = [];
  let tries = 0;
  const movable: Movable = {
    listener: 'web',
    protocol: 'http1',
    identity: {},
    detach: () => ({ fd: tries++ === 0 ? closed : fd, head: NOTHING, state: NOTHING }),
    release: () => closeFd(fd),
    resume: ({ forGood }) => void resumed.push(forGood),
    stay: () => {},
  };
  const offers: number[] = [];
  const channel = { offer: async () => void offers.push(tries), go: async () => {} };
  const offering = new Offering(
    channel,
    () => [movable],
    () => {},
  );
  offering.sweep();
  expect([offers, resumed]).toEqual([[], [false]]);
  await until(() => offers.length > 0, { what: 'a second try' });
  expect(offers).toEqual([2]);
  offering.onHeld({ batch: 1, verdicts: [VERDICT.held] });
  await turns();
  expect(offering.moved).toBe(1);
});

describe('an app that closes its server', () => {
  test('G3: when it is superseded ends no connection that is about to move', async () => {
    const from = await site(PREDECESSOR);
    const to = await site(SUCCESSOR);
    const clients = await connected(from, 3);
    // Used: Node's parser does not name the others (FACTS C3).
    for (const client of clients) expect((await client.ask('/first')).pid).toBe(PREDECESSOR);
    from.managed.suspend();
    from.server.close();
    const drained = from.managed.drain({ moves: true });
    const transfer = Transfer.between(from, to);
    transfer.run();
    transfer.offering.sweep();
    await drained;
    for (const client of clients) expect((await client.ask('/')).pid).toBe(SUCCESSOR);
  });
});
