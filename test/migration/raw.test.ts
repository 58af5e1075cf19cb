// G3, G4: raw TCP and Unix connections move by what the app saves: OFFER, HELD and GO over a real socketpair. Not a byte is
// lost, doubled or out of order in either direction, whether one moves, stays or comes back.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { VERDICT } from '../../lib/protocol/batches.js';
import { onLinux, temporaryFolder } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import type { LineClient } from './lines.js';
import { begin, clients, failures, LOCAL, move, type RawSite, rawSite, type Talk } from './raw-sandbox.js';
import { counted, Transfer, turns } from './sandbox.js';

expectNoLeaks();

const [FIRST, SECOND] = [1, 2];

async function pair(): Promise<[RawSite, RawSite, LineClient]> {
  const [from, to] = [await rawSite(FIRST), await rawSite(SECOND)];
  const [client] = (await clients(from, 1)) as [LineClient];
  return [from, to, client];
}

/** Sends bytes that the app gets, whole or in part. */
async function arrive(from: RawSite, client: LineClient, bytes: string | Uint8Array, total: number): Promise<void> {
  client.send(bytes);
  await until(() => [...from.talks.keys()].some(({ bytesRead }) => bytesRead >= total), { what: 'the bytes' });
}

describe('a connection that moves', () => {
  const script = 'one\ntwo\nthree\n';
  test.each(
    Array.from({ length: script.length + 1 }, (_, i) => i),
  )('G3: after %i bytes, lines whole and half: each is answered once, in order, and the count goes on', async (at) => {
    const [from, to, client] = await pair();
    await arrive(from, client, script.slice(0, at), at);
    await move(from, to);
    client.send(script.slice(at));
    const whole = script.slice(0, at).split('\n').length - 1;
    for (const [i, line] of ['one', 'two', 'three'].entries()) {
      expect(await client.line()).toBe(`${i < whole ? FIRST : SECOND} ${i + 1} ${line}`);
    }
    await turns();
    expect([client.pending, client.end, client.connects]).toEqual(['', undefined, 1]);
  });

  test.each([1, 64, 300])('G3: %i of them', async (count) => {
    const [from, to] = [await rawSite(FIRST), await rawSite(SECOND)];
    const many = await clients(from, count);
    for (const [i, client] of many.entries()) if (i % 2) expect(await client.ask('x')).toBe(`${FIRST} 1 x`);
    await move(from, to, count);
    expect(from.managed.connectionCount).toBe(0);
    for (const [i, client] of many.entries()) expect(await client.ask('y')).toBe(`${SECOND} ${1 + (i % 2)} y`);
    expect(many.filter(({ end, pending }) => end !== undefined || pending !== '')).toEqual([]);
  });

  test('the apps hear: saved and nothing more, restored and no connection', async () => {
    const [from, to, client] = await pair();
    const socket = from.socket();
    await move(from, to);
    expect(await client.ask('x')).toBe(`${SECOND} 1 x`);
    await turns();
    expect([from.heard, to.heard]).toEqual([['connection', 'saved'], ['restored']]);
    expect([socket.destroyed, socket.eventNames()]).toEqual([true, []]);
    const failed = await new Promise((resolve) => socket.write('late', resolve));
    expect(failed).toMatchObject({ code: 'ERR_STREAM_DESTROYED' });
    expect(from.heard).toEqual(['connection', 'saved']);
  });

  test('ten handovers in a row, with a half line at each', async () => {
    let from = await rawSite(0);
    const [client] = (await clients(from, 1)) as [LineClient];
    for (let id = 1; id <= 10; id++) {
      const to = await rawSite(id);
      client.send('li');
      await until(() => from.talks.get(from.socket())?.rest === 'li', { what: 'half a line' });
      await move(from, to);
      expect(await client.ask('ne')).toBe(`${id} ${id} line`);
      from = to;
    }
    expect([client.end, client.connects]).toEqual([undefined, 1]);
  });

  test('it moves on before its app has it: then that is asked first', async () => {
    const [from, to, client] = await pair();
    const third = await rawSite(3);
    const { transfer } = begin(from, to);
    await transfer.successor.step();
    await transfer.predecessor.step();
    await transfer.successor.step();
    // GO was read in this turn.
    expect(to.heard).toEqual([]);
    await move(to, third);
    expect(to.heard).toEqual(['restored', 'saved']);
    expect(await client.ask('x')).toBe('3 1 x');
  });

  test('the successor counts it: getConnections, close(callback)', async () => {
    const [from, to, client] = await pair();
    await move(from, to);
    const count = (site: RawSite): Promise<unknown> =>
      new Promise((resolve) => site.server.getConnections((_, count) => resolve(count)));
    expect([await count(from), await count(to)]).toEqual([0, 1]);
    let isClosed = false;
    to.server.close(() => {
      isClosed = true;
    });
    expect(await client.ask('x')).toBe(`${SECOND} 1 x`);
    expect(isClosed).toBe(false);
    client.close();
    await until(() => isClosed, { what: 'the server to close' });
  });

  test("the options of the successor's server are those of the connection", async () => {
    const from = await rawSite(FIRST);
    const server = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };
    const to = await rawSite(SECOND, { server });
    const [client] = (await clients(from, 1)) as [LineClient];
    await move(from, to);
    await until(() => to.talks.size === 1, { what: 'restore' });
    const socket = to.socket();
    expect(socket.allowHalfOpen).toBe(true);
    client.socket.end('x\n');
    expect(await client.line()).toBe(`${SECOND} 1 x`);
    await until(() => to.heard.includes('end'), { what: 'the end of the client' });
    await turns();
    expect([to.heard.includes('close'), client.end]).toEqual([false, undefined]);
  });

  test.each<[string, (socket: Socket) => AsyncIterable<Buffer> | Socket]>([
    ['a data listener', (socket) => socket],
    ['an iterator', (socket) => socket[Symbol.asyncIterator]() as AsyncIterable<Buffer>],
  ])('it reads when the app asks for data, not before: %s', async (_, ask) => {
    const from = await rawSite(FIRST);
    let restored: Socket | undefined;
    const to = await rawSite(SECOND, {
      migrate: {
        restore: (socket: Socket) => {
          restored = socket;
        },
      },
    });
    const [client] = (await clients(from, 1)) as [LineClient];
    await move(from, to);
    await until(() => restored !== undefined, { what: 'restore' });
    client.send('x');
    await turns();
    expect(restored?.bytesRead).toBe(0);
    const source = ask(restored as Socket);
    if (source === restored) expect(String((await once(restored as Socket, 'data'))[0])).toBe('x');
    else
      for await (const chunk of source as AsyncIterable<Buffer>) {
        expect(String(chunk)).toBe('x');
        break;
      }
  });

  test.runIf(onLinux).each<[string, () => { path: string } | { abstract: string }]>([
    ['a path', () => ({ path: join(temporaryFolder(), 'app.sock') })],
    // Node 20 pads a shorter name with zeros.
    ['an abstract name', () => ({ abstract: `handover-test-${randomUUID()}`.padEnd(107, 'x') })],
  ])('G3: a Unix stream at %s', async (_, bind) => {
    const from = await rawSite(FIRST, { bind: bind() });
    const [to, third] = [await rawSite(SECOND, { bind: LOCAL }), await rawSite(3)];
    const [client] = (await clients(from, 1)) as [LineClient];
    expect(await client.ask('x')).toBe(`${FIRST} 1 x`);
    await arrive(from, client, 'ha', 4);
    await move(from, to);
    await move(to, third);
    expect(await client.ask('lf')).toBe('3 2 half');
    expect([client.end, client.connects]).toEqual([undefined, 1]);
  });

  test('G3: state as bytes, and none but null', async () => {
    for (const state of [Buffer.from([0, 1, 255]), null, 0, '', [1, { a: null }]]) {
      const seen: unknown[] = [];
      const from = await rawSite(FIRST, { migrate: { save: () => state as never } });
      const to = await rawSite(SECOND, { migrate: { restore: (_: Socket, given: unknown) => seen.push(given) } });
      await clients(from, 1);
      await move(from, to);
      await until(() => seen.length === 1, { what: 'restore' });
      expect(seen).toEqual([state]);
    }
  });
});

describe('unread bytes', () => {
  test.each([
    1, 1_000, 60_000,
  ])('G3: the app has paused with %i unread: the successor reads them first', async (size) => {
    const [from, to, client] = await pair();
    from.socket().pause();
    const line = 'x'.repeat(size - 1);
    client.send(`${line}\n`);
    await until(() => from.socket().readableLength > 0, { what: 'the bytes' });
    await move(from, to);
    client.send('y\n');
    expect(await client.line()).toBe(`${SECOND} 1 ${line}`);
    expect(await client.line()).toBe(`${SECOND} 2 y`);
    expect(from.heard).toEqual(['connection', 'saved']);
  });

  const text = '€ü𝄞\n';
  const bytes = Buffer.from(text);
  test.each(
    ['utf8', 'latin1', 'hex', 'base64', 'utf16le'].flatMap((encoding) =>
      [1, 2, 3, 4, 6, 8].map((at) => [encoding, at] as const),
    ),
  )('G3: with setEncoding(%s), cut after %i bytes: a half character travels too', async (encoding, at) => {
    let socket: Socket | undefined;
    const from = await rawSite(FIRST, {
      accept: (accepted) => {
        socket = accepted.setEncoding(encoding as BufferEncoding).pause();
        socket.read(0);
      },
      migrate: { save: () => 1 as never },
    });
    let received = '';
    const to = await rawSite(SECOND, {
      migrate: {
        restore: (restored: Socket) => {
          restored.setEncoding(encoding as BufferEncoding).on('data', (text: string) => {
            received += text;
          });
          restored.on('end', () => {
            received += '.';
          });
        },
      },
    });
    const [client] = (await clients(from, 1)) as [LineClient];
    client.send(bytes.subarray(0, at));
    await until(() => socket?.bytesRead === at, { what: 'the bytes' });
    await move(from, to);
    client.send(bytes.subarray(at));
    client.socket.end();
    await until(() => received.endsWith('.'), { what: 'the end' });
    const decoded = encoding === 'base64' ? Buffer.from(received, 'base64').toString('base64') : received.slice(0, -1);
    expect(decoded).toBe(bytes.toString(encoding as BufferEncoding));
  });

  test('G3: taken back, they are unread again: flowing, paused, with an encoding', async () => {
    for (const prepare of [
      (socket: Socket): unknown => socket.pause(),
      (socket: Socket): unknown => socket.setEncoding('utf8').pause(),
    ]) {
      let accepted: Socket | undefined;
      const from = await rawSite(FIRST, {
        accept: (socket) => {
          prepare(socket);
          accepted = socket;
          socket.read(0);
        },
        migrate: { save: () => 1 as never },
      });
      const to = await rawSite(SECOND);
      const [client] = (await clients(from, 1)) as [LineClient];
      const socket = accepted as unknown as Socket;
      client.send(bytes.subarray(0, 4));
      await until(() => socket.bytesRead === 4, { what: 'the bytes' });
      const { transfer, stop } = begin(from, to);
      await transfer.successor.step();
      expect([socket.readableLength, socket.read()]).toEqual([0, null]);
      await transfer.abort(1);
      transfer.offering.takeBack();
      stop();
      await transfer.successor.step();
      client.send(bytes.subarray(4));
      let received = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer | string) => {
        received = Buffer.concat([received, Buffer.from(chunk as string)]);
      });
      socket.resume();
      await until(() => received.length >= bytes.length, { what: 'all the bytes' });
      expect(received.toString()).toBe(text);
    }
  });

  test('G3: taken back with a full buffer, where Node had stopped reading: the rest comes when the app resumes', async () => {
    const [from, to, client] = await pair();
    const socket = from.socket().pause();
    const line = 'x'.repeat(1_000_000);
    client.send(`${line}\n`);
    await until(() => socket.readableLength >= socket.readableHighWaterMark, { what: 'a full buffer' });
    await turns();
    const { transfer, stop } = begin(from, to);
    await transfer.successor.step();
    transfer.holding.abortAll();
    stop();
    transfer.offering.takeBack();
    await turns();
    socket.resume();
    expect(await client.line()).toBe(`${FIRST} 1 ${line}`);
  });

  test('G3: a consumer that resumes while its connection is on offer gets nothing, and all of it when it stays', async () => {
    const [from, to, client] = await pair();
    const socket = from.socket().pause();
    client.send('a\nb');
    await until(() => socket.readableLength > 0, { what: 'the bytes' });
    const { transfer, stop } = begin(from, to);
    await transfer.successor.step();
    socket.resume();
    client.send('c\n');
    await turns();
    expect(client.pending).toBe('');
    transfer.holding.abortAll();
    stop();
    transfer.offering.takeBack();
    expect([await client.line(), await client.line()]).toEqual([`${FIRST} 1 a`, `${FIRST} 2 bc`]);
  });
});

describe('what the app writes', () => {
  const LARGE = 20_000_000;

  test('G3: all of it before the state is there goes out before the connection moves', async () => {
    const from = await rawSite(FIRST, {
      migrate: {
        save: (socket: Socket) => {
          socket.write('last words\n');
          return { count: 7, rest: '' } as never;
        },
      },
    });
    const to = await rawSite(SECOND);
    const [client] = (await clients(from, 1)) as [LineClient];
    client.socket.pause();
    from.socket().write('x'.repeat(LARGE));
    const { transfer } = begin(from, to);
    transfer.run();
    await turns();
    expect([transfer.offering.moved, from.socket().writableLength > 0]).toEqual([0, true]);
    client.socket.resume();
    expect((await client.line()).length).toBe(LARGE + 'last words'.length);
    await until(() => transfer.offering.moved === 1, { what: 'the move' });
    expect(await client.ask('x')).toBe(`${SECOND} 8 x`);
  });

  test('G4: from OFFER on nothing goes out, nor a FIN; it goes out, in order, when the connection stays', async () => {
    const [from, to, client] = await pair();
    const socket = from.socket();
    const { transfer, stop } = begin(from, to);
    await transfer.successor.step();
    socket.cork();
    socket.write('a');
    socket.uncork();
    socket.uncork();
    socket.write('b');
    socket.end('c\n');
    await turns();
    expect([client.pending, client.end]).toEqual(['', undefined]);
    transfer.holding.abortAll();
    stop();
    transfer.offering.takeBack();
    expect([await client.line(), await client.ended()]).toEqual(['abc', 'closed']);
  });

  test('G4: a FIN alone is held back as well', async () => {
    const [from, to, client] = await pair();
    const { transfer } = begin(from, to);
    await transfer.successor.step();
    const socket = from.socket();
    socket.end();
    await turns();
    expect(client.end).toBeUndefined();
    transfer.run();

    await until(() => transfer.holding.adopted === 1, { what: 'the move' });
    expect(await client.ask('x')).toBe(`${SECOND} 1 x`);
  });

  test('G4: it fails once the connection has moved, and nobody else hears of it', async () => {
    const [from, to, client] = await pair();
    const socket = from.socket();
    const { transfer } = begin(from, to);
    await transfer.successor.step();
    const results: unknown[] = [];
    for (const text of ['a', 'b']) socket.write(text, (error) => results.push((error as { code?: string }).code));
    transfer.run();
    await until(() => results.length === 2, { what: 'the writes to fail' });
    expect(results).toEqual(['ERR_STREAM_DESTROYED', 'ERR_STREAM_DESTROYED']);
    expect(await client.ask('x')).toBe(`${SECOND} 1 x`);
    expect(from.heard).toEqual(['connection', 'saved']);
  });

  test.each<[string, (socket: Socket) => void]>([
    ['destroy()', (socket) => void socket.destroy()],
    ['resetAndDestroy()', (socket) => void socket.resetAndDestroy()],
  ])('the app ends an offered one by %s: the successor has it', async (_, end) => {
    const [from, to, client] = await pair();
    const { transfer } = begin(from, to);
    await transfer.successor.step();
    end(from.socket());
    await counted(from, 0);
    transfer.run();
    await until(() => transfer.holding.adopted === 1, { what: 'the move' });
    expect(await client.ask('x')).toBe(`${SECOND} 1 x`);
    // A lingering time of 0 that was left behind would make this a reset.
    to.socket().destroy();
    expect(await client.ended()).toBe('closed');
  });
});

describe('save', () => {
  test('G3: may take its time: the others move, and this one when it is ready', async () => {
    const answers: ((talk: Talk) => void)[] = [];
    const from = await rawSite(FIRST, {
      migrate: {
        save: (socket: Socket) =>
          (from.talks.get(socket)?.count === 0
            ? { count: 0, rest: '' }
            : new Promise((resolve) => answers.push(resolve))) as never,
      },
    });
    const to = await rawSite(SECOND);
    const [slow, quick] = (await clients(from, 2)) as [LineClient, LineClient];
    await slow.ask('x');
    const transfer = await move1(from, to);
    expect(await quick.ask('x')).toBe(`${SECOND} 1 x`);
    slow.send('y\n');
    await turns();
    expect([slow.pending, transfer.offering.moved]).toEqual(['', 1]);
    answers[0]?.({ count: 41, rest: '' });
    expect(await slow.line()).toBe(`${SECOND} 42 y`);
  });

  async function move1(from: RawSite, to: RawSite): Promise<Transfer> {
    const { transfer } = begin(from, to);
    transfer.run();
    await until(() => transfer.holding.adopted === 1, { what: 'the first move' });
    return transfer;
  }

  test('asked once in a handover, and again in the next one', async () => {
    const [from, to, client] = await pair();
    const { transfer, stop } = begin(from, to);
    await transfer.successor.step();
    transfer.offering.sweep();
    await turns();
    transfer.holding.abortAll();
    stop();
    transfer.offering.takeBack();
    expect(from.heard).toEqual(['connection', 'saved']);
    expect(await client.ask('x')).toBe(`${FIRST} 1 x`);
    await move(from, to);
    expect(from.heard).toEqual(['connection', 'saved', 'saved']);
    expect(await client.ask('x')).toBe(`${SECOND} 2 x`);
  });

  test.each<[string, () => unknown, string[]]>([
    ['undefined', () => undefined, []],
    ['a promise of undefined', async () => undefined, []],
    [
      'a throw',
      () => {
        throw new Error('no');
      },
      ['migrate.save: no'],
    ],
    ['a rejection', () => Promise.reject(new Error('no')), ['migrate.save: no']],
    [
      'no state',
      () => () => {},
      [
        'migrate.save: "the state of a connection" must be a Uint8Array or a JSON value. Received [Function (anonymous)]',
      ],
    ],
  ])('%s: the connection stays, and reads what came meanwhile', async (_, save, expected) => {
    const failed = failures();
    let isAsked = false;
    const from = await rawSite(FIRST, {
      migrate: {
        save: (() => {
          isAsked = true;
          return save();
        }) as never,
      },
    });
    const to = await rawSite(SECOND);
    const [client] = (await clients(from, 1)) as [LineClient];
    await arrive(from, client, 'ha', 2);
    const { transfer } = begin(from, to);
    transfer.run();
    client.send('lf\n');
    expect(await client.line()).toBe(`${FIRST} 1 half`);
    await until(() => isAsked, { what: 'save' });
    await turns();
    expect(await client.ask('x')).toBe(`${FIRST} 2 x`);
    expect([failed, transfer.offering.moved, client.end]).toEqual([expected, 0, undefined]);
  });

  test('the handover ends while it is asked: the connection reads on, and what it says later changes nothing', async () => {
    let answer: (talk: Talk) => void = () => {};
    const from = await rawSite(FIRST, {
      migrate: {
        save: () =>
          new Promise<Talk>((resolve) => {
            from.heard.push('saving');
            answer = resolve;
          }) as never,
      },
    });
    const to = await rawSite(SECOND);
    const [client] = (await clients(from, 1)) as [LineClient];
    const { transfer, stop } = begin(from, to);
    transfer.run();
    await until(() => from.heard.includes('saving'), { what: 'save' });
    client.send('x\n');
    await turns();
    expect(client.pending).toBe('');
    stop();
    expect(await client.line()).toBe(`${FIRST} 1 x`);
    answer({ count: 9, rest: '' });
    await turns();
    expect(await client.ask('y')).toBe(`${FIRST} 2 y`);
    expect(transfer.offering.moved).toBe(0);
  });

  test.each<[string, (fail: { hold(): void; refuse(): void; end(): void }) => void]>([
    ['refused by the successor', ({ refuse }) => refuse()],
    ['taken back', ({ hold }) => hold()],
    ['saved, and not offered yet', ({ end }) => end()],
  ])('%s: the app learns once that the connection stays, before it gets bytes again', async (_, fail) => {
    const heard: string[] = [];
    const from: RawSite = await rawSite(FIRST, {
      migrate: {
        stay: (socket: Socket) => {
          heard.push('stay');
          socket.on('data', () => heard.push('data'));
        },
      },
    });
    const to = await rawSite(SECOND);
    const [client] = (await clients(from, 1)) as [LineClient];
    const { transfer, stop } = begin(from, to);
    if (fail.toString().includes('end()'))
      await until(() => from.heard.includes('saved'), { what: 'save', interval: 0 });
    else await transfer.successor.step();
    client.send('x\n');
    fail({
      refuse: () => transfer.offering.onHeld({ batch: 1, verdicts: [VERDICT.refused] }),
      hold: () => {
        stop();
        transfer.offering.takeBack();
      },
      end: stop,
    });
    transfer.holding.abortAll();
    expect(await client.line()).toBe(`${FIRST} 1 x`);
    await turns();
    stop();
    expect(heard).toEqual(['stay', 'data']);
  });

  test("the app's timeout is silent from then on, and runs again when the connection stays", async () => {
    const [from, to, client] = await pair();
    const socket = from.socket().setTimeout(50);
    const { transfer, stop } = begin(from, to);
    await transfer.successor.step();
    expect(socket.timeout).toBe(0);
    transfer.holding.abortAll();
    stop();
    transfer.offering.takeBack();
    expect(socket.timeout).toBe(50);
    await until(() => from.heard.includes('timeout'), { what: 'the timeout' });
    expect(client.end).toBeUndefined();
  });
});

describe('what does not move', () => {
  test('an end that was read, or sent: never asked for', async () => {
    const server = { allowHalfOpen: true };
    const [from, to] = [await rawSite(FIRST, { server }), await rawSite(SECOND)];
    const [reader, writer, unread] = (await clients(from, 3)) as [LineClient, LineClient, LineClient];
    for (const client of [reader, writer, unread]) await client.ask('x');
    const [first, second, third] = [...from.talks.keys()] as [Socket, Socket, Socket];
    first.end();
    expect(await reader.ended()).toBe('closed');
    writer.socket.end();
    await once(second, 'end');
    third.pause();
    unread.socket.end('left over\n');
    await until(() => third.readableLength > 0, { what: 'bytes and the end' });
    // The end is behind the bytes that the app has not read.
    third.read(0);
    await turns();
    const { transfer } = begin(from, to);
    transfer.run();
    await turns();
    expect([transfer.offering.moved, from.heard.filter((name) => name === 'saved')]).toEqual([0, []]);
    expect(await reader.send('y\n').ended()).toBe('closed');
    second.write('still here\n');
    expect(await writer.line()).toBe('still here');
    third.resume();
    expect(await unread.line()).toBe(`${FIRST} 2 left over`);
    for (const socket of [first, second, third]) socket.destroy();
  });

  test('the app ends it in save: the FIN goes out, and it stays', async () => {
    const from = await rawSite(FIRST, {
      migrate: {
        save: (socket: Socket) => {
          socket.end('bye\n');
          return { count: 0, rest: '' } as never;
        },
      },
    });
    const to = await rawSite(SECOND);
    const [client] = (await clients(from, 1)) as [LineClient];
    const { transfer } = begin(from, to);
    transfer.run();
    expect(await client.line()).toBe('bye');
    expect([await client.ended(), transfer.offering.moved]).toEqual(['closed', 0]);
  });

  test('the client has gone: the predecessor or the successor learns it, once', async () => {
    const [from, to, client] = await pair();
    const { transfer } = begin(from, to);
    await transfer.successor.step();
    client.socket.resetAndDestroy();
    transfer.run();
    await until(() => transfer.holding.adopted === 1, { what: 'the move' });
    await counted(to, 0);
    expect(from.heard).toEqual(['connection', 'saved']);
  });

  test.each<[string, string]>([
    ['knows no such protocol', 'http1'],
    ['knows it by another name', 'raw2'],
  ])('G3: the successor %s: it stays, with all its bytes', async (_, protocol) => {
    const [from, to, client] = await pair();
    await arrive(from, client, 'ha', 2);
    const transfer = new Transfer(
      () => from.managed.movable(),
      () => () => to.managed.adopter(protocol),
    );
    from.managed.whenMovable(() => transfer.offering.sweepSoon());
    await transfer.successor.step();
    client.send('lf\n');
    await transfer.predecessor.step();
    expect(await client.line()).toBe(`${FIRST} 1 half`);
    expect([transfer.offering.moved, client.end]).toEqual([0, undefined]);
  });

  test('a state of an unknown form is refused, and closed', async () => {
    const failed = failures();
    const [from, to, client] = await pair();
    const { transfer } = begin(from, to);
    const frame = await transfer.successor.read();
    if (frame?.name !== 'OFFER') throw new Error('no OFFER');
    const connections = frame.payload.connections.map((connection) => ({ ...connection, state: Buffer.from([77]) }));
    const verdicts: number[] = [];
    transfer.holding.hold({ batch: 1, connections }, frame.fds, (held) => verdicts.push(...held.verdicts));
    expect(verdicts).toEqual([VERDICT.refused]);
    transfer.offering.onHeld({ batch: 1, verdicts: [VERDICT.refused] });
    expect(await client.ask('x')).toBe(`${FIRST} 1 x`);
    expect(failed).toEqual([expect.stringContaining('migrate.restore: ')]);
  });
});

describe('restore', () => {
  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('%s: published, and this connection ends; the others do not', async (_, fail) => {
    const failed = failures();
    const from = await rawSite(FIRST);
    const to: RawSite = await rawSite(SECOND, {
      migrate: {
        restore: ((socket: Socket, state: Talk) => (state.count === 1 ? fail() : to.talk(socket, state))) as never,
      },
    });
    const [broken, other] = (await clients(from, 2)) as [LineClient, LineClient];
    await broken.ask('x');
    await move(from, to, 2);
    expect(await broken.ended()).toBe('closed');
    expect(await other.ask('x')).toBe(`${SECOND} 1 x`);
    expect([failed, to.managed.connectionCount]).toEqual([['migrate.restore: no'], 1]);
  });

  test('the loop stays responsive: other work gets its turn between the slices', async () => {
    const COUNT = 60;
    const from = await rawSite(FIRST);
    let done = 0;
    const to: RawSite = await rawSite(SECOND, {
      migrate: {
        restore: ((socket: Socket, state: Talk) => {
          const start = performance.now();
          while (performance.now() - start < 1);
          done += 1;
          to.talk(socket, state);
        }) as never,
      },
    });
    const many = await clients(from, COUNT);
    const { transfer } = begin(from, to);
    transfer.run();
    await until(() => done > 0, { what: 'the first slice' });
    const seen = new Set<number>();
    await until(() => seen.add(done) && done === COUNT, { what: 'the last slice' });
    expect(seen.size).toBeGreaterThan(5);
    for (const client of many) expect(await client.ask('x')).toBe(`${SECOND} 1 x`);
  });
});

test('no property or listener is left on a connection that was offered and stayed', async () => {
  const [from, to, client] = await pair();
  const socket = from.socket();
  const look = (): unknown => [
    Object.getOwnPropertyNames(socket).sort(),
    socket.eventNames().map((name) => [name, socket.listenerCount(name)]),
    socket.readableFlowing,
  ];
  const before = look();
  for (let round = 0; round < 3; round++) {
    const { transfer, stop } = begin(from, to);
    await transfer.successor.step();
    transfer.holding.abortAll();
    stop();
    transfer.offering.takeBack();
    await turns();
    expect(look()).toEqual(before);
  }
  expect(await client.ask('x')).toBe(`${FIRST} 1 x`);
});
