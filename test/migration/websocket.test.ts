// G3, G4: WebSockets of the `ws` package move between two messages; what cannot move ends with 1012 where it is. Both
// sides in one process, over a real socketpair: see sandbox.ts.
import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { onLinux } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { counted, PREDECESSOR, SUCCESSOR, Transfer, turns, unread } from './sandbox.js';
import { type ChatOptions, type ChatSite, chat, frame, SocketWire } from './websockets.js';

expectNoLeaks();

interface Setup {
  readonly from: ChatSite;
  readonly to: ChatSite;
  readonly clients: readonly SocketWire[];
}

/** So many clients of the first, each of which has said something. */
async function chats(
  count: number,
  { from: first = {}, to: second = {}, headers = '' }: { from?: ChatOptions; to?: ChatOptions; headers?: string } = {},
): Promise<Setup> {
  const [from, to] = [await chat(PREDECESSOR, first), await chat(SUCCESSOR, second)];
  const clients = await Promise.all(Array.from({ length: count }, () => new SocketWire(from.port).open(headers)));
  for (const client of clients) expect(await client.asked('hello')).toBe(`${PREDECESSOR}:1:hello`);
  await turns();
  return { from, to, clients };
}

/** Offers what can move, now and later, and runs. */
function start({ from, to }: Pick<Setup, 'from' | 'to'>): Transfer {
  const transfer = Transfer.between(from, to);
  from.managed.whenMovable(() => transfer.offering.sweepSoon());
  transfer.offering.sweepSoon();
  transfer.run();
  return transfer;
}

async function moved(transfer: Transfer, count: number): Promise<void> {
  const isDone = (): boolean => transfer.offering.moved === count && transfer.holding.adopted === count;
  await until(isDone, { what: `${count} to move` });
}

/** Nothing has moved although there was time. */
async function expectStill(transfer: Transfer): Promise<void> {
  await turns(40);
  expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([0, 0]);
}

function socketOf({ sockets }: ChatSite): WebSocket {
  return sockets.at(-1) as WebSocket;
}

describe('a WebSocket of `ws`', () => {
  test.each([1, 70])('G3: %i move, each once, and the successor counts on', async (count) => {
    const setup = await chats(count);
    const { from, to, clients } = setup;
    await moved(start(setup), count);
    for (const client of clients) expect(await client.asked('again')).toBe(`${SUCCESSOR}:2:again`);
    await counted(from, 0);
    await counted(to, count);
    expect([from.wss.clients.size, to.wss.clients.size]).toEqual([0, count]);
    // The old app hears nothing of it, the new one gets the upgrade once more.
    expect(from.heard).toEqual(Array(count).fill('new /chat'));
    expect(to.heard).toEqual(Array(count).fill('again /chat'));
    await turns();
    expect(clients.every(({ pending, end }) => pending === 0 && end === undefined)).toBe(true);
  });

  test('G3: ten moves in a row: no message is lost, doubled or out of order', async () => {
    const sites = [];
    for (let id = 1; id <= 11; id++) sites.push(await chat(id));
    const [first] = sites as [ChatSite];
    const client = await new SocketWire(first.port).open('Cookie: a=1\r\nCookie: b=2\r\n', '/room?x=1');
    let said = 0;
    for (const [i, from] of sites.entries()) {
      const to = sites[i + 1];
      for (const _ of [1, 2, 3]) expect(await client.asked(`m${said}`)).toBe(`${i + 1}:${said + 1}:m${said++}`);
      if (!to) break;
      // On its way while it moves.
      client.say('between');
      const transfer = start({ from, to });
      await moved(transfer, 1);
      expect(await client.text()).toMatch(new RegExp(`^(${i + 1}|${i + 2}):${++said}:between$`));
      await counted(from, 0);
    }
    expect(sites.slice(1).every(({ heard }) => heard[0] === 'again /room?x=1' && heard.length === 1)).toBe(true);
  });

  test.runIf(onLinux)('G4: from OFFER to GO nobody reads; what came meanwhile is read once', async () => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    const transfer = Transfer.between(setup.from, setup.to);
    transfer.offering.sweep();
    client.say('meanwhile');
    const size = frame('text', 'meanwhile').length;
    const untouched = async (): Promise<void> => {
      await until(() => unread(setup.from.port, client) === size, { what: 'the message to be in the kernel' });
      await turns();
      expect([unread(setup.from.port, client), client.pending]).toEqual([size, 0]);
    };
    await untouched();
    await transfer.successor.step();
    expect(setup.to.heard).toEqual(['again /chat']);
    await untouched();
    await transfer.predecessor.step();
    await untouched();
    await transfer.successor.step();
    expect(await client.text()).toBe(`${SUCCESSOR}:2:meanwhile`);
    expect(setup.from.heard).toEqual(['new /chat']);
  });

  test('G3: what the old app sends after it has saved fails, and what the new one sends before GO is sent then', async () => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    const ws = socketOf(setup.from);
    const transfer = Transfer.between(setup.from, setup.to);
    transfer.offering.sweep();
    const failed: unknown[] = [];
    ws.send('too late', (error) => failed.push(error?.message));
    await transfer.successor.step();
    socketOf(setup.to).send('from the new one');
    await transfer.predecessor.step();
    await turns();
    ws.send('much too late', (error) => failed.push(error?.message));
    expect(client.pending).toBe(0);
    await transfer.successor.step();
    expect(await client.text()).toBe('from the new one');
    expect(await client.asked('x')).toBe(`${SUCCESSOR}:2:x`);
    await turns();
    expect([failed, client.pending]).toEqual([
      [expect.stringContaining('migrated to another process'), expect.stringContaining('not open')],
      0,
    ]);
    expect(setup.from.heard).toEqual(['new /chat']);
  });

  test('G5: taken back: what was held is sent, it reads on, and the new app hears nothing of it', async () => {
    let stayed = 0;
    const setup = await chats(1, { from: { stay: () => stayed++ } });
    const [client] = setup.clients as [SocketWire];
    const transfer = Transfer.between(setup.from, setup.to);
    transfer.offering.sweep();
    socketOf(setup.from).send('held');
    client.say('meanwhile');
    await transfer.successor.step();
    socketOf(setup.to).send('never');
    await transfer.abort(1);
    await transfer.successor.step();
    transfer.offering.takeBack();
    expect(await client.text()).toBe('held');
    expect(await client.text()).toBe(`${PREDECESSOR}:2:meanwhile`);
    await counted(setup.to, 0);
    await until(() => setup.to.wss.clients.size === 0, { what: 'the new app to forget it' });
    expect([setup.from.heard, setup.to.heard]).toEqual([['new /chat'], ['again /chat']]);
    expect(stayed).toBe(1);
    // And moves the next time.
    await moved(start(setup), 1);
    expect([await client.asked('again'), stayed]).toEqual([`${SUCCESSOR}:3:again`, 1]);
  });

  test('G4: the predecessor dies after OFFER: the successor has it', async () => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    const transfer = Transfer.between(setup.from, setup.to);
    transfer.offering.sweep();
    await transfer.successor.step();
    await transfer.predecessor.die();
    await transfer.successor.step();
    // Its copy goes with it.
    socketOf(setup.from).terminate();
    expect(await client.asked('again')).toBe(`${SUCCESSOR}:2:again`);
  });
});

describe('waits', () => {
  const text = frame('text', 'in pieces');

  test.each<[string, Buffer, Buffer]>([
    ['one byte of a frame', text.subarray(0, 1), text.subarray(1)],
    ['a header without its payload', text.subarray(0, 6), text.subarray(6)],
    ['half a payload', text.subarray(0, 9), text.subarray(9)],
    [
      'half a message',
      frame('text', 'in ', { fin: false }),
      Buffer.concat([frame('ping', 'x'), frame('continuation', 'pieces')]),
    ],
  ])('G3: for the rest of %s', async (_, before, after) => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    client.send(before);
    await turns();
    const transfer = start(setup);
    await expectStill(transfer);
    client.send(after);
    if (after.length > 15) expect((await client.frame()).opcode).toBe('pong');
    expect(await client.text()).toBe(`${PREDECESSOR}:2:in pieces`);
    await moved(transfer, 1);
    expect(await client.asked('again')).toBe(`${SUCCESSOR}:3:again`);
  });

  test('G3: for the pong', async () => {
    const setup = await chats(1, { from: { wss: { autoPong: false } } });
    const [client] = setup.clients as [SocketWire];
    client.send(frame('ping', 'are you there'));
    await turns();
    const transfer = start(setup);
    await expectStill(transfer);
    socketOf(setup.from).pong('are you there');
    expect((await client.frame()).opcode).toBe('pong');
    await moved(transfer, 1);
  });

  test('G3: for the rest of a message of the app', async () => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    socketOf(setup.from).send('one, ', { fin: false });
    await turns();
    const transfer = start(setup);
    await expectStill(transfer);
    socketOf(setup.from).send('two', { fin: true });
    expect([(await client.frame()).fin, (await client.frame()).fin]).toEqual([false, true]);
    await moved(transfer, 1);
    expect(await client.asked('again')).toBe(`${SUCCESSOR}:2:again`);
  });

  test('G3: for a big message that the client reads slowly', async () => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    client.socket.pause();
    const big = Buffer.alloc(20_000_000, 'big');
    socketOf(setup.from).send(big);
    await turns();
    const transfer = start(setup);
    await expectStill(transfer);
    client.socket.resume();
    expect((await client.frame()).payload.equals(big)).toBe(true);
    await moved(transfer, 1);
    expect(await client.asked('again')).toBe(`${SUCCESSOR}:2:again`);
  });

  test('G3: for a message that has come and that the app has not got yet', async () => {
    const setup = await chats(1, { from: { wss: { allowSynchronousEvents: false } } });
    const [client] = setup.clients as [SocketWire];
    client.send(Buffer.concat(Array.from({ length: 100 }, (_, i) => frame('text', `m${i}`))));
    await moved(start(setup), 1);
    for (let i = 0; i < 100; i++) expect(await client.text()).toMatch(new RegExp(`^[12]:${i + 2}:m${i}$`));
    expect(await client.asked('again')).toBe(`${SUCCESSOR}:102:again`);
  });

  test('G3: but not for a client to stop: one that always has messages on their way is not read for that long', async () => {
    const setup = await chats(1, { from: { wss: { allowSynchronousEvents: false } } });
    const [client] = setup.clients as [SocketWire];
    let said = 0;
    const transfer = start(setup);
    // Each turn brings the app more messages than it is given in a turn.
    for (let turn = 0; transfer.holding.adopted === 0 && turn < 500; turn++) {
      for (let i = 0; i < 5; i++) client.say(`m${said++}`);
      await turns(1);
    }
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([1, 1]);
    for (let i = 0; i < said; i++) expect(await client.text()).toMatch(new RegExp(`^[12]:${i + 2}:m${i}$`));
    expect(await client.asked('again')).toBe(`${SUCCESSOR}:${said + 2}:again`);
  });

  test('G3: for its app no longer than a second: then the client is read on', async () => {
    const setup = await chats(1);
    const [client] = setup.clients as [SocketWire];
    const transfer = start(setup);
    // Its answer to the client is the rest of the message.
    socketOf(setup.from).send('half, ', { fin: false });
    expect((await client.frame()).fin).toBe(false);
    client.say('go on');
    expect(await client.frame()).toMatchObject({ fin: true, payload: Buffer.from(`${PREDECESSOR}:2:go on`) });
    await moved(transfer, 1);
  });

  test('G3: in the closing handshake it does not move', async () => {
    const setup = await chats(2);
    const [byClient, byApp] = setup.clients as [SocketWire, SocketWire];
    setup.from.sockets[1]?.close(4000);
    byClient.send(frame('close', Buffer.of(0x03, 0xe8)).subarray(0, 7));
    await turns();
    const transfer = start(setup);
    expect(await byApp.sentAway()).toBe(4000);
    byClient.send(frame('close', Buffer.of(0x03, 0xe8)).subarray(7));
    expect(await byClient.sentAway()).toBe(1000);
    await counted(setup.from, 0);
    expect([transfer.offering.moved, [...setup.from.heard].sort()]).toEqual([
      0,
      ['close 1000', 'close 4000', 'new /chat', 'new /chat', 'socket close', 'socket close'],
    ]);
  });
});

describe('save and restore', () => {
  test('bytes, promised', async () => {
    const setup = await chats(1, {
      from: { save: async () => Buffer.of(0, 255, 7) },
      to: {
        restore: (_, state) => {
          expect(state).toEqual(Buffer.of(0, 255, 7));
          setup.to.counts.set(socketOf(setup.to), 41);
        },
      },
    });
    await moved(start(setup), 1);
    expect(await setup.clients[0]?.asked('x')).toBe(`${SUCCESSOR}:42:x`);
  });

  test('what the app sends while it saves is sent, before the move', async () => {
    let finish = (): void => {};
    const setup = await chats(1, {
      from: {
        save: (ws) =>
          new Promise((resolve) => {
            ws.send('saving');
            finish = () => resolve({ count: 8 });
          }),
      },
    });
    const [client] = setup.clients as [SocketWire];
    const transfer = start(setup);
    expect(await client.text()).toBe('saving');
    client.say('while it saves');
    await expectStill(transfer);
    finish();
    expect(await client.text()).toBe(`${SUCCESSOR}:9:while it saves`);
  });

  test('G3: also a big message, before the move', async () => {
    const big = Buffer.alloc(20_000_000, 'big');
    const setup = await chats(1, {
      from: {
        save: async (ws) => {
          ws.send(big);
          return { count: 8 };
        },
      },
    });
    const [client] = setup.clients as [SocketWire];
    client.socket.pause();
    const transfer = start(setup);
    await expectStill(transfer);
    client.socket.resume();
    expect((await client.frame()).payload.equals(big)).toBe(true);
    await moved(transfer, 1);
    expect(await client.asked('x')).toBe(`${SUCCESSOR}:9:x`);
  });

  test('G5: the handover ends while it saves: it stays, reads on, and moves the next time', async () => {
    let finish = (): void => {};
    const setup = await chats(1, {
      from: {
        save: () =>
          new Promise((resolve) => {
            finish = () => resolve({ count: 8 });
          }),
      },
    });
    const [client] = setup.clients as [SocketWire];
    const transfer = Transfer.between(setup.from, setup.to);
    const stop = setup.from.managed.whenMovable(() => transfer.offering.sweepSoon());
    transfer.offering.sweep();
    client.say('while it saves');
    await turns();
    expect(client.pending).toBe(0);
    transfer.offering.takeBack();
    stop();
    expect(await client.text()).toBe(`${PREDECESSOR}:2:while it saves`);
    finish();
    await turns();
    expect(await client.asked('x')).toBe(`${PREDECESSOR}:3:x`);
    const next = start(setup);
    await turns();
    finish();
    await moved(next, 1);
    expect(await client.asked('y')).toBe(`${SUCCESSOR}:9:y`);
  });

  test('nothing is read before restore has settled', async () => {
    let finish = (): void => {};
    const setup = await chats(1, {
      to: {
        restore: async () => {
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
          setup.to.counts.set(socketOf(setup.to), 70);
        },
      },
    });
    const [client] = setup.clients as [SocketWire];
    await moved(start(setup), 1);
    client.say('early');
    await turns(40);
    expect(client.pending).toBe(0);
    finish();
    expect(await client.text()).toBe(`${SUCCESSOR}:71:early`);
  });

  test('G4: it moves on only once restore has settled', async () => {
    let finish = (): void => {};
    const setup = await chats(1, {
      to: {
        restore: async () => {
          await new Promise<void>((resolve) => {
            finish = resolve;
          });
          setup.to.counts.set(socketOf(setup.to), 70);
        },
      },
    });
    const third = await chat(3, {});
    const [client] = setup.clients as [SocketWire];
    const onward = start({ from: setup.to, to: third });
    await moved(start(setup), 1);
    onward.offering.sweep();
    await expectStill(onward);
    finish();
    await moved(onward, 1);
    expect(await client.asked('on')).toBe('3:71:on');
  });

  test.each<[string, () => never | undefined | Promise<never>]>([
    ['undefined', () => undefined],
    [
      'an error',
      () => {
        throw new Error('cannot');
      },
    ],
    ['a rejection', () => Promise.reject(new Error('cannot'))],
    ['no JSON', () => (() => {}) as never],
  ])('%s: it stays and is sent away with 1012', async (_, save) => {
    const setup = await chats(1, { from: { save } });
    const transfer = start(setup);
    expect(await setup.clients[0]?.sentAway()).toBe(1012);
    await counted(setup.from, 0);
    expect([transfer.offering.moved, setup.from.heard.includes('close 1012')]).toEqual([0, true]);
  });
});

describe('the new release', () => {
  const deflate =
    'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n';
  const stateless = { serverNoContextTakeover: true, clientNoContextTakeover: true };

  test('G3: decides asynchronously', async () => {
    const setup = await chats(3, {
      to: { wss: { verifyClient: (_, decide) => void setTimeout(() => decide(true), 20) } },
    });
    await moved(start(setup), 3);
    for (const client of setup.clients) expect(await client.asked('again')).toBe(`${SUCCESSOR}:2:again`);
  });

  test.each([
    ['and then agrees', true],
    ['and then refuses', false],
  ])('G4, G7: is taken back while the new app decides, %s: it goes on where it was, and nothing is left', async (_, agrees) => {
    const decisions: ((agrees: boolean) => void)[] = [];
    const setup = await chats(2, { to: { wss: { verifyClient: (_, decide) => void decisions.push(decide) } } });
    const { from, to, clients } = setup;
    const transfer = Transfer.between(from, to);
    transfer.offering.sweep();
    await transfer.successor.step();
    await until(() => decisions.length === 2, { what: 'the new app to be asked' });
    await counted(to, 2);
    await transfer.abort(1);
    transfer.offering.takeBack();
    await transfer.successor.step();
    for (const client of clients) expect(await client.asked('here')).toBe(`${PREDECESSOR}:2:here`);
    for (const decide of decisions) decide(agrees);
    await counted(to, 0);
    await turns();
    // What the app was told of for a moment is no client of it, and it hears no end of it.
    expect([to.wss.clients.size, to.heard.filter((word) => word !== 'again /chat')]).toEqual([0, []]);
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([0, 0]);
    expect(transfer.successor.taken).toEqual(['OFFER 1', 'ABORT 1']);
    for (const client of clients) expect(await client.asked('still')).toBe(`${PREDECESSOR}:3:still`);
    expect(from.heard).toEqual(['new /chat', 'new /chat']);
  });

  test.each<[string, ChatOptions, ChatOptions, string]>([
    ['negotiates deflate', {}, { wss: { perMessageDeflate: stateless } }, deflate],
    [
      'negotiates another subprotocol',
      { wss: { handleProtocols: () => 'one' } },
      { wss: { handleProtocols: () => 'two' } },
      'Sec-WebSocket-Protocol: one, two\r\n',
    ],
    ['refuses', {}, { wss: { verifyClient: () => false } }, ''],
    ['refuses later', {}, { wss: { verifyClient: (_, decide) => void setTimeout(() => decide(false, 403), 20) } }, ''],
    ['has no such path', {}, { wss: { path: '/other' } }, ''],
    ['has not opted in', {}, { stays: true }, ''],
  ])('G3: %s: the client stays, and is sent away with 1012', async (_, from, to, headers) => {
    const setup = await chats(1, { from, to, headers });
    const [client] = setup.clients as [SocketWire];
    const transfer = start(setup);
    expect(await client.sentAway()).toBe(1012);
    expect([transfer.offering.moved, transfer.holding.adopted]).toEqual([0, 0]);
    await counted(setup.to, 0);
    await counted(setup.from, 0);
    expect(setup.from.heard).toEqual(['new /chat', 'close 1012', 'socket close']);
  });

  test('G3: destroys the socket, throws, or never answers: the same', async () => {
    const setup = await chats(3);
    let count = 0;
    setup.to.wss.handleUpgrade = (_, socket) => {
      count += 1;
      if (count === 1) socket.destroy();
      if (count === 2) throw new Error('cannot');
    };
    start(setup);
    expect(await Promise.all(setup.clients.map((client) => client.sentAway()))).toEqual([1012, 1012, 1012]);
    await counted(setup.to, 0);
  });

  test('G3: deflate without context take-over moves, with it stays', async () => {
    const setup = await chats(1, {
      from: { wss: { perMessageDeflate: { ...stateless, threshold: 0 } } },
      to: { wss: { perMessageDeflate: { ...stateless, threshold: 0 } } },
    });
    const open = async (headers: string): Promise<SocketWire> => new SocketWire(setup.from.port).open(headers);
    const compressed = await open(deflate);
    await moved(start(setup), 2);
    expect(await setup.clients[0]?.asked('x')).toBe(`${SUCCESSOR}:2:x`);
    expect((await compressed.say('plain').frame()).payload.length).toBeGreaterThan(0);
    expect(setup.to.wss.clients.size).toBe(2);
  });

  test('G3: deflate with context take-over is not offered', async () => {
    const setup = await chats(0, {
      from: { wss: { perMessageDeflate: true } },
      to: { wss: { perMessageDeflate: true } },
    });
    const client = await new SocketWire(setup.from.port).open('Sec-WebSocket-Extensions: permessage-deflate\r\n');
    const transfer = start(setup);
    await expectStill(transfer);
    void setup.from.managed.drain({ moves: true });
    expect(await client.sentAway()).toBe(1012);
  });
});
