// G4: OFFER, HELD, GO and ABORT over a real socketpair, with real connections. Between OFFER and GO nobody reads, and
// whatever happens to either side, each connection ends up with exactly one.
import { getEventListeners } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { VERDICT } from '../../lib/protocol/batches.js';
import { fillTable, onLinux } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { counted, PREDECESSOR, type Site, SUCCESSOR, site, Transfer, turns, unread } from './sandbox.js';
import { Wire } from './wire.js';

expectNoLeaks();

interface Setup {
  readonly from: Site;
  readonly to: Site;
  readonly clients: readonly Wire[];
}

/** Idle connections of one side: every other has been asked something before. */
async function connections(count: number): Promise<Setup> {
  const [from, to] = [await site(PREDECESSOR), await site(SUCCESSOR)];
  const clients = Array.from({ length: count }, () => new Wire(from.port));
  for (const [i, client] of clients.entries()) {
    await client.connected();
    if (i % 2 === 0) expect((await client.ask(`/first/${i}`)).pid).toBe(PREDECESSOR);
  }
  await counted(from, count);
  await turns();
  return { from, to, clients };
}

/** Who answers each of them now; each exactly once, and nothing but that. `ending`: and ends the connection with it. */
async function answers(clients: readonly Wire[], { ending = false } = {}): Promise<number[]> {
  const pids = await Promise.all(
    clients.map(async (client, i) => {
      const { pid, body, status } = await client.ask(`/again/${i}`);
      expect([status, body.toString()]).toEqual([200, `got /again/${i}`]);
      return pid;
    }),
  );
  await turns();
  if (ending) await until(() => clients.every(({ end }) => end !== undefined), { what: 'the connections to end' });
  expect(clients.map(({ pending, end }) => [pending, end !== undefined])).toEqual(clients.map(() => [0, ending]));
  return pids;
}

const all = (count: number, pid: number): number[] => Array(count).fill(pid);

describe('OFFER, HELD, GO', () => {
  test.each([
    1, 2, 64, 65, 300,
  ])('G3: %i connections move, each once, and are answered by the successor', async (count) => {
    const { from, to, clients } = await connections(count);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    transfer.run();
    await until(() => transfer.settled > 0 && transfer.holding.adopted >= count, { what: 'the end of the transfer' });
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([count, count]);
    await counted(from, 0);
    await counted(to, count);
    expect(await answers(clients)).toEqual(all(count, SUCCESSOR));
    expect(transfer.successor.taken.filter((name) => name.startsWith('OFFER'))).toHaveLength(Math.ceil(count / 64));
  });

  test.runIf(onLinux)(
    'G4: from OFFER to GO nobody reads; what came meanwhile is read once, by the successor',
    async () => {
      const { from, to, clients } = await connections(2);
      const transfer = Transfer.between(from, to);
      transfer.offering.sweep();
      const sizes = clients.map((client) => {
        client.get('/meanwhile');
        return 'GET /meanwhile HTTP/1.1\r\nHost: x\r\n\r\n'.length;
      });
      const arrived = (): boolean => clients.every((client, i) => unread(from.port, client) === sizes[i]);
      await until(arrived, { what: 'the requests to be in the kernel' });
      const untouched = async (): Promise<void> => {
        await turns();
        expect([arrived(), from.requests.includes('/meanwhile'), to.requests]).toEqual([true, false, []]);
      };
      await untouched();
      await transfer.successor.step();
      await untouched();
      // HELD: the predecessor's copies go, and GO is on its way.
      await transfer.predecessor.step();
      await counted(from, 0);
      await untouched();
      await transfer.successor.step();
      for (const client of clients) expect(await client.response()).toMatchObject({ pid: SUCCESSOR, status: 200 });
      expect([from.requests.includes('/meanwhile'), to.requests]).toEqual([false, ['/meanwhile', '/meanwhile']]);
      expect(transfer.successor.taken).toEqual(['OFFER 1', 'GO 1']);
    },
  );

  test('GO comes after HELD and not before', async () => {
    const { from, to } = await connections(3);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    const offer = await transfer.successor.read();
    let next: string | undefined;
    const reading = transfer.successor.read().then((frame) => {
      next = frame?.name;
      return frame;
    });
    await turns();
    expect(next).toBeUndefined();
    if (offer?.name !== 'OFFER') throw new Error('no OFFER');
    transfer.holding.hold(offer.payload, offer.fds, (held) => void transfer.successor.channel.send('HELD', held));
    await transfer.predecessor.step();
    expect((await reading)?.payload).toEqual({ batch: 1 });
    expect(next).toBe('GO');
    transfer.holding.go(1);
  });

  test('the window: four batches are out, the next one waits for a HELD', async () => {
    const { from, to, clients } = await connections(5 * 64 + 3);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    transfer.offering.sweep();
    for (let batch = 1; batch <= 4; batch++) await transfer.successor.step();
    const fifth = transfer.successor.step();
    await turns();
    expect(transfer.successor.taken).toEqual(['OFFER 1', 'OFFER 2', 'OFFER 3', 'OFFER 4']);
    await transfer.predecessor.step();
    await fifth;
    transfer.run();
    await until(() => transfer.settled > 0 && transfer.holding.adopted >= clients.length, { what: 'the end' });
    expect(transfer.holding.adopted).toBe(clients.length);
    expect(await answers(clients)).toEqual(all(clients.length, SUCCESSOR));
  });

  test('what is offered is not offered again by the next sweep', async () => {
    const { from, to, clients } = await connections(70);
    const transfer = Transfer.between(from, to);
    for (let sweep = 0; sweep < 5; sweep++) transfer.offering.sweep();
    transfer.run();
    await until(() => transfer.settled > 0 && transfer.holding.adopted >= 70, { what: 'the end' });
    await turns();
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([70, 70]);
    expect(await answers(clients)).toEqual(all(70, SUCCESSOR));
  });

  test('without anything to move it is settled at once', async () => {
    const { from, to } = await connections(0);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    expect(transfer.settled).toBe(1);
  });

  test('the client ends it meanwhile: the successor sees the end', async () => {
    const { from, to, clients } = await connections(2);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    clients[0]?.socket.end();
    clients[1]?.socket.resetAndDestroy();
    transfer.run();
    await until(() => transfer.holding.adopted === 2, { what: 'both to move' });
    await counted(to, 0);
    expect(await clients[0]?.ended()).toBe('closed');
  });

  test('the app destroys an offered one meanwhile: exactly one end for the client, no descriptor left', async () => {
    const { from, to, clients } = await connections(3);
    const transfer = Transfer.between(from, to);
    const sockets: { destroy(): void }[] = [];
    from.server.on('request', ({ socket }) => sockets.push(socket));
    await clients[0]?.ask('/mine');
    await turns();
    transfer.offering.sweep();
    sockets[0]?.destroy();
    await counted(from, 2);
    transfer.run();
    await until(() => transfer.settled > 0, { what: 'the end of the transfer' });
    await counted(from, 0);
    expect((await answers(clients.slice(1))).every((pid) => pid === SUCCESSOR)).toBe(true);
    // It was offered when the app ended it: the successor has it, alone.
    expect(await answers(clients.slice(0, 1))).toEqual([SUCCESSOR]);
  });
});

describe('verdicts', () => {
  test('G3: an unknown listener: resumed, ended politely by the predecessor, and not offered for ever', async () => {
    const { from, clients } = await connections(3);
    const transfer = new Transfer(
      () => from.managed.movable(),
      () => undefined,
    );
    transfer.offering.sweep();
    transfer.run();
    // It settles when GO is sent, which may be before the other side has read it.
    await until(() => transfer.settled > 0 && transfer.successor.taken.length > 1, {
      what: 'GO to be read',
      timeout: 2_000,
    });
    expect(transfer.successor.taken).toEqual(['OFFER 1', 'GO 1']);
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([0, 0]);
    expect(await answers(clients, { ending: true })).toEqual(all(3, PREDECESSOR));
  });

  test('an unknown protocol: the same', async () => {
    const { from, to, clients } = await connections(3);
    const transfer = new Transfer(
      () => from.managed.movable(),
      () => (protocol) => to.managed.adopter(protocol === 'http1' ? 'http9' : 'http1'),
    );
    transfer.offering.sweep();
    await transfer.successor.step();
    await transfer.predecessor.step();
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([0, 0]);
    expect(await answers(clients, { ending: true })).toEqual(all(3, PREDECESSOR));
  });

  test('one batch, some held and some not: each goes on with its one owner', async () => {
    const { from, to, clients } = await connections(4);
    const other = await site(3, 'other');
    const strangers = [new Wire(other.port), new Wire(other.port)];
    for (const stranger of strangers) await stranger.connected();
    await counted(other, 2);
    const transfer = new Transfer(
      () => [...other.managed.movable(), ...from.managed.movable()],
      (listener) => (listener === 'web' ? to.managed.adopter : undefined),
    );
    transfer.offering.sweep();
    await transfer.successor.step();
    await transfer.predecessor.step();
    await transfer.successor.step();
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([4, 4]);
    expect(await answers(clients)).toEqual(all(4, SUCCESSOR));
    expect(await answers(strangers, { ending: true })).toEqual([3, 3]);
  });

  test('HELD of another length, of no batch, or twice: an error', async () => {
    const { from, to, clients } = await connections(2);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    const { held } = VERDICT;
    expect(() => transfer.offering.onHeld({ batch: 1, verdicts: [held] })).toThrow('no batch 1');
    expect(() => transfer.offering.onHeld({ batch: 1, verdicts: [held, held, held] })).toThrow('no batch 1');
    expect(() => transfer.offering.onHeld({ batch: 2, verdicts: [held, held] })).toThrow('no batch 2');
    await transfer.successor.step();
    await transfer.predecessor.step();
    expect(() => transfer.offering.onHeld({ batch: 1, verdicts: [held, held] })).toThrow('no batch 1');
    await transfer.successor.step();
    expect(await answers(clients)).toEqual(all(2, SUCCESSOR));
  });

  test('an OFFER with another number of descriptors, or of a batch that is held: an error, and all it brought is closed', async () => {
    const { from, to, clients } = await connections(2);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    const frame = await transfer.successor.read();
    if (frame?.name !== 'OFFER') throw new Error('no OFFER');
    const { payload, fds } = frame;
    const none = (): void => {};
    expect(() => transfer.holding.hold({ ...payload, connections: payload.connections.slice(1) }, fds, none)).toThrow(
      'OFFER 1 of 1 connections came with 2 descriptors',
    );
    transfer.holding.hold({ batch: 7, connections: [] }, new Int32Array(), none);
    expect(() => transfer.holding.hold({ batch: 7, connections: [] }, new Int32Array(), none)).toThrow('OFFER 7');
    transfer.offering.takeBack();
    expect(await answers(clients)).toEqual(all(2, PREDECESSOR));
  });

  test('GO of a batch that is not held, or twice: an error', async () => {
    const { from, to } = await connections(1);
    const transfer = Transfer.between(from, to);
    expect(() => transfer.holding.go(1)).toThrow('GO 1');
    transfer.offering.sweep();
    await transfer.successor.step();
    await transfer.predecessor.step();
    await transfer.successor.step();
    expect(() => transfer.holding.go(1)).toThrow('GO 1');
  });
});

describe('ABORT and the end of the stream', () => {
  test('G4: ABORT of a batch drops what is held, and the predecessor reads on', async () => {
    const { from, to, clients } = await connections(70);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    for (const client of clients) client.get('/meanwhile');
    await transfer.successor.step();
    await transfer.successor.step();
    await transfer.abort(1);
    await transfer.abort(2);
    transfer.offering.takeBack();
    await transfer.successor.step();
    await transfer.successor.step();
    for (const client of clients) expect((await client.response()).pid).toBe(PREDECESSOR);
    expect(to.requests).toEqual([]);
    expect(await answers(clients)).toEqual(all(70, PREDECESSOR));
    expect(() => transfer.holding.go(1)).toThrow('GO 1');
  });

  test('ABORT of a batch nobody holds changes nothing', async () => {
    const { from, to } = await connections(0);
    Transfer.between(from, to).holding.abort(5);
  });

  test.each([
    ['OFFER', 0],
    ['HELD', 1],
  ])('G4: the predecessor is dead after %s: the successor has what it holds', async (_, steps) => {
    const { from, to, clients } = await connections(5);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    for (const client of clients) client.get('/meanwhile');
    for (let step = 0; step < steps; step++) await transfer.successor.step();
    // Everything of the predecessor's ends with it, and nothing of that is a FIN.
    await transfer.predecessor.die();
    from.managed.cut();
    await counted(from, 0);
    await transfer.successor.run();
    expect(transfer.holding.adopted).toBe(5);
    for (const client of clients) expect((await client.response()).pid).toBe(SUCCESSOR);
    expect(await answers(clients)).toEqual(all(5, SUCCESSOR));
  });

  test.each([
    ['before it read OFFER', 0],
    ['after HELD', 1],
  ])('G5: the successor is dead %s: the predecessor takes back and reads on', async (_, steps) => {
    const { from, to, clients } = await connections(70);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    for (const client of clients) client.get('/meanwhile');
    for (let step = 0; step < steps; step++) await transfer.successor.step();
    transfer.holding.abortAll();
    await transfer.successor.die();
    // HELD that is on the way counts: that batch is the dead one's.
    transfer.offering.takeBack();
    for (const client of clients) expect((await client.response()).pid).toBe(PREDECESSOR);
    expect(await answers(clients)).toEqual(all(70, PREDECESSOR));
    expect(transfer.offering.moved).toBe(0);
  });

  test('after takeBack nothing is offered any more', async () => {
    const { from, to, clients } = await connections(2);
    const transfer = Transfer.between(from, to);
    transfer.offering.takeBack();
    transfer.offering.sweep();
    await transfer.successor.channel.send('HELD', { batch: 1, verdicts: [] });
    expect(() => transfer.offering.onHeld({ batch: 1, verdicts: [0, 0] })).toThrow('no batch');
    expect(await answers(clients)).toEqual(all(2, PREDECESSOR));
  });

  test('taken back once, it moves the next time', async () => {
    const { from, to, clients } = await connections(3);
    const first = Transfer.between(from, to);
    first.offering.sweep();
    first.offering.takeBack();
    const second = Transfer.between(from, to);
    second.offering.sweep();
    second.run();
    await until(() => second.holding.adopted === 3, { what: 'all to move' });
    expect(await answers(clients)).toEqual(all(3, SUCCESSOR));
  });

  test('parked ones are taken back as parked ones, and move on', async () => {
    const { from, to, clients } = await connections(3);
    const there = Transfer.between(from, to);
    there.offering.sweep();
    there.run();
    await until(() => there.holding.adopted === 3, { what: 'all to move' });
    const third = await site(3);
    const abandoned = Transfer.between(to, third);
    abandoned.offering.sweep();
    await abandoned.successor.step();
    abandoned.holding.abortAll();
    abandoned.offering.takeBack();
    expect(await answers(clients.slice(0, 1))).toEqual([SUCCESSOR]);
    await turns();
    const on = Transfer.between(to, third);
    on.offering.sweep();
    on.run();
    await until(() => on.holding.adopted === 3, { what: 'all to move on' });
    expect(await answers(clients)).toEqual(all(3, 3));
  });
});

describe('limits', () => {
  test('G7: a full descriptor table at OFFER: nothing moves, nothing is lost, nothing throws', async () => {
    const { from, to, clients } = await connections(5);
    const transfer = Transfer.between(from, to);
    const empty = fillTable(2);
    try {
      expect(() => transfer.offering.sweep()).not.toThrow();
    } finally {
      empty();
    }
    transfer.run();
    await turns();
    expect((await answers(clients)).every((pid) => pid === PREDECESSOR || pid === SUCCESSOR)).toBe(true);
  });

  test('G7: a batch that is never sent keeps no descriptor', async () => {
    const { from, to, clients } = await connections(5);
    const transfer = Transfer.between(from, to);
    await transfer.predecessor.die();
    transfer.offering.sweep();
    await turns();
    transfer.offering.takeBack();
    expect(await answers(clients)).toEqual(all(5, PREDECESSOR));
  });
});

test('no listener is left on a connection that was offered and stayed', async () => {
  const { from, to, clients } = await connections(1);
  const sockets: NodeJS.EventEmitter[] = [];
  from.server.on('request', ({ socket }) => sockets.push(socket));
  await clients[0]?.ask('/');
  await turns();
  const counts = (): [string, number][] =>
    (sockets[0]?.eventNames() ?? []).map((name) => [String(name), getEventListeners(sockets[0] as never, name).length]);
  const before = counts();
  for (let round = 0; round < 3; round++) {
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    transfer.offering.takeBack();
  }
  expect(counts()).toEqual(before);
});

test('G4: the predecessor writes no 408 to a connection on offer, nor ends it', async () => {
  const from = await site(PREDECESSOR, 'web', {
    headersTimeout: 150,
    requestTimeout: 150,
    connectionsCheckingInterval: 30,
  });
  const to = await site(SUCCESSOR);
  const client = await new Wire(from.port).connected();
  await counted(from, 1);
  const transfer = Transfer.between(from, to);
  transfer.offering.sweep();
  // Several times what Node waits for the headers.
  await pause(500);
  expect([client.pending, client.end]).toEqual([0, undefined]);
  transfer.run();
  expect((await client.ask('/x')).pid).toBe(SUCCESSOR);
});

describe('the first request after a move', () => {
  test.each([
    ['that had been used', true],
    ['that had not', false],
  ])('may take longer than the timeouts of a connection that waits: one %s', async (_, isUsed) => {
    const from = await site(PREDECESSOR);
    const to = await site(SUCCESSOR, 'web', { headersTimeout: 200 });
    Object.assign(to.server, { keepAliveTimeout: 200, keepAliveTimeoutBuffer: 0 });
    to.server.removeAllListeners('request');
    to.server.on('request', ({ url }, response) => {
      const body = `got ${url}`;
      const head = { 'x-pid': SUCCESSOR, 'content-length': body.length };
      setTimeout(() => response.writeHead(200, head).end(body), 600);
    });
    const client = await new Wire(from.port).connected();
    if (isUsed) await client.ask('/first');
    await counted(from, 1);
    await turns();
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    transfer.run();
    await until(() => transfer.holding.adopted === 1, { what: 'the move' });
    expect(await client.ask('/slow')).toMatchObject({ pid: SUCCESSOR, status: 200 });
    expect(client.end).toBeUndefined();
  });

  test('half of whose head came before its batch of hundreds was made is answered, and no 400', async () => {
    // One more than four batches: it waits for the first HELD, and reads on meanwhile.
    const { from, to, clients } = await connections(4 * 64 + 1);
    const sockets = [...from.managed.movable()].map(({ identity }) => identity as Socket);
    const before = sockets.map(({ bytesRead }) => bytesRead);
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    for (const client of clients) client.send('GET /half HTTP/1.1\r\nHo');
    await until(() => sockets.some(({ bytesRead }, i) => bytesRead !== before[i]), { what: 'half a head to be read' });
    transfer.run();
    await until(() => transfer.settled > 0 && transfer.holding.adopted >= 256, { what: 'the end of the transfer' });
    for (const client of clients) client.send('st: x\r\n\r\n');
    const responses = await Promise.all(clients.map((client) => client.response()));
    expect(new Set(responses.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set(['200 got /half']));
    expect(responses.filter(({ pid }) => pid === PREDECESSOR)).toHaveLength(1);
    expect(transfer.holding.adopted).toBe(256);
  });
});

describe('the idle rule', () => {
  /** Ended, and still on its way: more than the kernel takes while the client reads nothing. */
  const LARGE = 20_000_000;

  test('a response that is ended and not yet out keeps its connection', async () => {
    const { from, to, clients } = await connections(0);
    const client = await new Wire(from.port).connected();
    from.server.removeAllListeners('request');
    let ended = false;
    from.server.on('request', (_, response) => {
      ended = true;
      response.writeHead(200, { 'x-pid': PREDECESSOR, 'content-length': LARGE }).end(Buffer.alloc(LARGE));
    });
    client.socket.pause();
    client.get('/large');
    await until(() => ended, { what: 'the request' });
    await turns();
    expect([...from.managed.movable()]).toEqual([]);
    client.socket.resume();
    expect((await client.response()).body.length).toBe(LARGE);
    await until(() => [...from.managed.movable()].length === 1, { what: 'the connection to be idle' });
    expect([clients, to.requests]).toEqual([[], []]);
  });

  test('one the app itself writes to, before any request', async () => {
    const from = await site(PREDECESSOR);
    from.server.on('connection', (socket) => socket.write(Buffer.alloc(LARGE)));
    const client = new Wire(from.port);
    client.socket.pause();
    await client.connected();
    await counted(from, 1);
    await turns();
    expect([...from.managed.movable()]).toEqual([]);
  });
});
