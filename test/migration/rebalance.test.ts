// G3, G4: a process that leaves gives its connections to others that serve already: what becomes of them where one of those
// dies, hangs or breaks the protocol. The one that leaves and those that stay are real; the one that fails is played.
import * as http from 'node:http';
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { dupFd, FdSocket } from '../../lib/fd/index.js';
import { VERDICT } from '../../lib/protocol/batches.js';
import { Channel } from '../../lib/protocol/channel.js';
import type { Clock } from '../../lib/protocol/clock.js';
import type { Hello } from '../../lib/protocol/frames.js';
import type { ManagedServer } from '../../lib/protocols/managed-server.js';
import { giveTo } from '../../lib/transfer/rebalance.js';
import { receiveConnections } from '../../lib/transfer/rebalance-target.js';
import type { DrainResult, Servers } from '../../lib/transfer/servers.js';
import { own } from '../fd/sandbox.js';
import { Peer } from '../handover/peer.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { VirtualClock } from '../process/virtual-clock.js';
import { LineClient } from './lines.js';
import { counted, PREDECESSOR, type Site, SUCCESSOR, serving, site, turns } from './sandbox.js';
import { Wire } from './wire.js';

expectNoLeaks();

const hello: Hello = {
  protocol: { min: 1, max: 1 },
  generation: 1,
  pid: process.pid,
  version: '0.1.0',
  capabilities: ['move'],
};

interface Leaving {
  readonly servers: Servers;
  readonly managed: ManagedServer;
  readonly clients: readonly Wire[];
}

/** The same with so many idle connections. */
async function leaving(count: number): Promise<Leaving> {
  const server = http.createServer(({ url }, response) => {
    const body = `got ${url}`;
    response.writeHead(200, { 'x-pid': PREDECESSOR, 'content-length': body.length }).end(body);
  });
  const { servers, managed, port } = await serving(server);
  const clients = await Promise.all(Array.from({ length: count }, () => new Wire(port).connected()));
  for (const client of clients) await client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n').response();
  await counted({ managed }, count);
  await turns();
  return { servers, managed, clients };
}

/** One that stays, and takes what it is given: its end of the channel, and how many it has been given at the end. */
async function staying(): Promise<{ readonly to: Site; readonly channel: Channel; readonly given: Promise<number> }> {
  const to = await site(SUCCESSOR);
  const [ours, theirs] = FdSocket.pair();
  const given = receiveConnections(new Channel(theirs, 'successor'), hello, () => to.managed.adopter);
  given.catch(() => {});
  return { to, given, channel: new Channel(ours, 'predecessor') };
}

/** It leaves: what ends the giving, and the end of the drain. */
function leave(
  { servers }: Pick<Leaving, 'servers'>,
  channels: readonly Channel[],
  clock?: Clock,
): { stop: () => Promise<number>; drained: Promise<DrainResult> } {
  servers.suspendAll();
  const stop = giveTo(channels, hello, servers, clock);
  onTestFinished(() => void stop());
  const drained = servers.drainAll({ timeout: 20_000, idleTimeout: 0, spread: 0, moves: true });
  return { stop, drained };
}

/** It has said HELLO and been offered something. */
async function offered(heir: Peer): Promise<void> {
  await heir.send('HELLO', { ...hello, generation: 0 });
  while ((await heir.next()).name !== 'OFFER');
}

const COUNT = 6;

async function allAnsweredBy({ to }: { readonly to: Site }, { clients, managed }: Leaving): Promise<void> {
  await counted(to, COUNT);
  for (const client of clients) expect(await client.ask('/again')).toMatchObject({ pid: SUCCESSOR, status: 200 });
  await counted({ managed }, 0);
}

describe('one of those that stay', () => {
  test.each<[string, (heir: Peer) => Promise<void> | void]>([
    ['dies after OFFER', (heir) => heir.close()],
    ['sends what it may not', (heir) => heir.send('READY', {})],
    ['answers an offer that was never made', (heir) => heir.send('HELD', { batch: 99, verdicts: [0] })],
  ])('G3: %s: the others get its share, too', async (_, fail) => {
    const from = await leaving(COUNT);
    const stays = await staying();
    const heir = new Peer('predecessor');
    const { stop, drained } = leave(from, [heir.channel, stays.channel]);
    await offered(heir);
    await fail(heir);
    await allAnsweredBy(stays, from);
    expect([await drained, await stop(), await stays.given]).toEqual([{ cut: 0, cutConnections: [] }, COUNT, COUNT]);
  });

  test('G4: breaks the protocol: it is told that nothing is its own, before anybody reads', async () => {
    const from = await leaving(COUNT);
    const heir = new Peer('predecessor');
    const { stop, drained } = leave(from, [heir.channel]);
    await offered(heir);
    await heir.send('READY', {});
    expect(await heir.rest()).toEqual(['ABORT']);
    for (const client of from.clients) {
      expect((await client.ask('/again')).pid).toBe(PREDECESSOR);
      client.close();
    }
    expect([(await drained).cut, await stop()]).toEqual([0, 0]);
  });

  test('G3, G4: hangs after OFFER: it is told so, and the others get its share', async () => {
    const from = await leaving(COUNT);
    const stays = await staying();
    const heir = new Peer('predecessor');
    const clock = new VirtualClock();
    const { stop, drained } = leave(from, [heir.channel, stays.channel], clock);
    await offered(heir);
    await until(() => stays.to.managed.connectionCount === COUNT / 2, { what: 'the others to have theirs' });
    await clock.advance(9_999);
    expect(from.managed.connectionCount).toBe(COUNT / 2);
    await clock.advance(1);
    // What it answers now is too late.
    await heir.send('HELD', { batch: 1, verdicts: [0, 0, 0] }).catch(() => {});
    expect(await heir.rest()).toEqual(['ABORT']);
    await allAnsweredBy(stays, from);
    expect([(await drained).cut, await stop(), await stays.given]).toEqual([0, COUNT, COUNT]);
  });

  describe('hangs, and cannot be told that nothing is its own, because it does not read', () => {
    /** It has read the first offer and none behind it; ten seconds later it counts as hung. */
    async function hung() {
      const server = createServer((socket) => socket.on('data', (line) => socket.write(line)));
      // More than the kernel keeps for it.
      const state = Buffer.alloc(3 * 1024 * 1024);
      const from = await serving(server, { save: () => state, restore: () => {} });
      const clients = Array.from({ length: 4 }, () => new LineClient({ port: from.port, host: '127.0.0.1' }));
      await counted(from, clients.length);
      const heir = new Peer('predecessor');
      const clock = new VirtualClock();
      const { drained } = leave(from, [heir.channel], clock);
      await heir.send('HELLO', { ...hello, generation: 0 });
      expect(await heir.next()).toMatchObject({ name: 'HELLO' });
      const offer = await heir.next();
      const { connections } = offer.payload as { readonly connections: readonly unknown[] };
      await clock.advance(10_000);
      return { clients, heir, clock, drained, verdicts: connections.map(() => VERDICT.held) };
    }

    test('G4: what it answers now is too late, and it is given nothing', async () => {
      const { clients, heir, drained, verdicts } = await hung();
      await heir.send('HELD', { batch: 1, verdicts });
      await turns();
      const frames = await heir.rest();
      expect([new Set(frames), frames.at(-1)]).toEqual([new Set(['OFFER', 'ABORT']), 'ABORT']);
      for (const client of clients) expect(await client.ask('still here')).toBe('still here');
      for (const client of clients) client.close();
      expect((await drained).cut).toBe(0);
    });

    test('G4: nothing is read of what it was offered until it is gone', async () => {
      const { clients, heir, clock, drained } = await hung();
      await clock.advance(10_000);
      const answers = Promise.all(clients.map((client) => client.ask('still here')));
      let isAnswered = false;
      void answers.then(() => {
        isAnswered = true;
      });
      await turns();
      expect(isAnswered).toBe(false);
      heir.close();
      expect(await answers).toEqual(clients.map(() => 'still here'));
      for (const client of clients) client.close();
      expect((await drained).cut).toBe(0);
    });
  });

  test.each<[string, (heir: Peer) => Promise<void> | void]>([
    ['never says HELLO', () => {}],
    ['takes no connections', (heir) => heir.send('HELLO', { ...hello, generation: 0, capabilities: [] })],
    ['speaks another version', (heir) => heir.send('HELLO', { ...hello, generation: 0, protocol: { min: 7, max: 9 } })],
  ])('G3: %s: it gets no share', async (_, say) => {
    const from = await leaving(COUNT);
    const stays = await staying();
    const heir = new Peer('predecessor');
    const { stop, drained } = leave(from, [heir.channel, stays.channel]);
    await say(heir);
    await allAnsweredBy(stays, from);
    expect([(await drained).cut, await stop()]).toEqual([0, COUNT]);
  });

  test('G7: sends descriptors, which nobody asked for: they are closed', async () => {
    const from = await leaving(0);
    const heir = new Peer('predecessor');
    const { stop, drained } = leave(from, [heir.channel]);
    const sent = own(dupFd(2));
    await heir.send('HELLO', { ...hello, generation: 0 }, [sent, sent]);
    await heir.next();
    await drained;
    expect(await stop()).toBe(0);
  });
});

test('G2: all of them die: what is open is told at its next response, and ends here', async () => {
  const from = await leaving(COUNT);
  const heirs = [new Peer('predecessor'), new Peer('predecessor')];
  const { stop, drained } = leave(
    from,
    heirs.map(({ channel }) => channel),
  );
  // The second is offered what the first leaves: until the first has died, that one has all of it.
  for (const heir of heirs) {
    await offered(heir);
    heir.close();
  }
  const responses = await Promise.all(from.clients.map((client) => client.ask('/last')));
  expect(responses.map(({ pid, head }) => [pid, head.includes('Connection: close')])).toEqual(
    Array(COUNT).fill([PREDECESSOR, true]),
  );
  for (const client of from.clients) client.close();

  expect([(await drained).cut, await stop()]).toEqual([0, 0]);
});

describe('the one that leaves', () => {
  test('G4: dies with an offer on its way: the other has it', async () => {
    const to = await site(SUCCESSOR);
    const giver = new Peer('successor');
    const received = receiveConnections(giver.channel, hello, () => to.managed.adopter);
    // A pid nobody can have: it counts as dead once its channel has ended.
    await giver.send('HELLO', { ...hello, pid: 0 });
    const from = await leaving(1);
    const [movable] = [...from.managed.movable()];
    const detached = movable?.detach();
    if (!detached) throw new Error('it does not move');
    const { fd, head, state } = detached;
    await giver.send('OFFER', { batch: 1, connections: [{ listener: 'web', protocol: 'http1', head, state }] }, [fd]);
    while ((await giver.next()).name !== 'HELD');
    movable?.release();
    giver.close();
    expect(await received).toBe(1);
    expect((await (from.clients[0] as Wire).ask('/again')).pid).toBe(SUCCESSOR);
  });

  test.each([
    'RETIRE',
    'ABORT',
    'READY',
  ] as const)('G4: says %s with an offer on its way: it is closed, and never read', async (name) => {
    const to = await site(SUCCESSOR);
    const giver = new Peer('successor');
    const received = receiveConnections(giver.channel, hello, () => to.managed.adopter);
    received.catch(() => {});
    await giver.send('HELLO', { ...hello, pid: 0 });
    const from = await leaving(1);
    const [movable] = [...from.managed.movable()];
    const detached = movable?.detach();
    if (!detached) throw new Error('it does not move');
    const { fd, head, state } = detached;
    await giver.send('OFFER', { batch: 1, connections: [{ listener: 'web', protocol: 'http1', head, state }] }, [fd]);
    while ((await giver.next()).name !== 'HELD');
    if (name === 'READY') {
      await giver.write(Buffer.from([0, 0, 0, 2, 0, 3, 0, 0, 0x7b, 0x7d]));
      await expect(received).rejects.toMatchObject({ code: 'ERR_HANDOVER_PROTOCOL' });
    } else {
      await giver.send(name, {}, [own(dupFd(2))]);
      giver.close();
      expect(await received).toBe(0);
    }
    movable?.resume({ forGood: false });
    expect((await (from.clients[0] as Wire).ask('/here')).pid).toBe(PREDECESSOR);
    expect([to.requests, to.managed.connectionCount]).toEqual([[], 0]);
  });
});
