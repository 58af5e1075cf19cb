// The fence around a socket, alone: what it keeps, what it gives back, and a Node without the internals it stands on, where
// connections stay and drain.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Fence, isHeld } from '../../lib/sockets/fence.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { clients, LOCAL, rawSite } from '../migration/raw-sandbox.js';
import { counted, site, Transfer, turns } from '../migration/sandbox.js';
import { Wire } from '../migration/wire.js';

expectNoLeaks();

interface Pair {
  /** As a server has accepted it. */
  readonly socket: Socket;
  readonly client: Socket;
  /** What the client has read. */
  readonly got: () => string;
}

async function pair(): Promise<Pair> {
  const server = createServer().listen(0, LOCAL.host);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect((server.address() as { port: number }).port, LOCAL.host);
  let got = '';
  client.setEncoding('utf8').on('data', (text: string) => {
    got += text;
  });
  const [socket] = await accepted;
  onTestFinished(async () => {
    client.destroy();
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { socket, client, got: () => got };
}

/** Hides `readStop` of the handle, as a Node that has renamed it. */
function hideReadStop(socket: Socket): void {
  const { _handle: handle } = socket as unknown as { _handle: object };
  Object.defineProperty(handle, 'readStop', { configurable: true, value: undefined });
  onTestFinished(() => void Reflect.deleteProperty(handle, 'readStop'));
}

function raise(socket: Socket): Fence {
  const fence = Fence.raise(socket);
  if (!fence) throw new Error('this Node cannot stop a socket');
  return fence;
}

describe('a fence', () => {
  test('keeps the socket from reading, also when the app asks for it, until it is lifted', async () => {
    const { socket, client } = await pair();
    const fence = raise(socket);
    const heard: string[] = [];
    socket.on('data', (bytes) => heard.push(bytes.toString()));
    client.write('one');
    await turns();
    expect([heard, socket.bytesRead]).toEqual([[], 0]);
    fence.lift();
    await until(() => heard.join('') === 'one', { what: 'the bytes that waited' });
  });

  test('is one a socket: a second one is not raised, and a third is when the first is lifted', async () => {
    const { socket } = await pair();
    const fence = raise(socket);
    expect(Fence.raise(socket)).toBeUndefined();
    fence.lift();
    expect(Fence.raise(socket)).toBeInstanceOf(Fence);
  });

  test('holds writes, views of memory and the end, and gives them back in order', async () => {
    const { socket, client, got } = await pair();
    const fence = raise(socket);
    fence.hold();
    expect(isHeld(socket)).toBe(true);
    socket.write('a');
    socket.write(Buffer.from('b'), () => {});
    socket.write('63', 'hex');
    socket.write(new DataView(Uint8Array.from([0x2d, 0x64]).buffer, 1) as unknown as Uint8Array);
    socket.end('e', 'latin1');
    await turns();
    expect([got(), socket.writableEnded]).toEqual(['', false]);
    fence.lift();
    expect([isHeld(socket), socket.writableEnded]).toEqual([false, true]);
    await once(client, 'end');
    expect(got()).toBe('abcde');
  });

  test('gives a method that was taken while it held back to Node, and leaves none of its own behind', async () => {
    const { socket, got } = await pair();
    const before = Object.getOwnPropertyNames(socket);
    const fence = raise(socket);
    fence.hold({ destroy: true });
    const { write } = socket;
    write.call(socket, 'a');
    fence.lift();
    expect(Object.getOwnPropertyNames(socket)).toEqual(before);
    write.call(socket, 'b');
    await until(() => got() === 'ab', { what: 'both bytes' });
  });

  test('holds one socket and not the others, whose methods it shares', async () => {
    const [held, other] = [await pair(), await pair()];
    const fences = [raise(held.socket), raise(other.socket)];
    for (const fence of fences) fence.hold();
    fences[1]?.resumeWriting();
    held.socket.write('kept');
    other.socket.write('sent');
    await until(() => other.got() === 'sent', { what: 'the byte of the other' });
    expect([held.got(), isHeld(held.socket), isHeld(other.socket)]).toEqual(['', true, false]);
  });

  test('puts back a `write` of the socket itself, and asks it about a wrong chunk', async () => {
    const { socket } = await pair();
    const own: unknown[] = [];
    const write = (chunk: unknown): boolean => own.push(chunk) > 0;
    socket.write = write as Socket['write'];
    const fence = raise(socket);
    fence.hold();
    socket.write(1 as unknown as string);
    expect(own).toEqual([1]);
    fence.lift();
    expect([socket.write, Object.keys(socket).includes('write')]).toEqual([write, true]);
  });

  test('leaves it to Node to say what is wrong with a chunk', async () => {
    const { socket } = await pair();
    raise(socket).hold();
    expect(() => socket.write(1 as unknown as string)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    );
    expect(() => socket.write(null as unknown as string)).toThrow(
      expect.objectContaining({ code: 'ERR_STREAM_NULL_VALUES' }),
    );
  });

  test("says 'drain' to one that was told to wait, once, when what it held has gone", async () => {
    const { socket, got } = await pair();
    const fence = raise(socket);
    fence.hold();
    const much = 'x'.repeat(socket.writableHighWaterMark);
    let drains = 0;
    socket.on('drain', () => drains++);
    expect([socket.write('x'), socket.write(much)]).toEqual([true, false]);
    await turns();
    expect(drains).toBe(0);
    fence.lift();
    await until(() => got().length === much.length + 1 && drains > 0, { what: 'all of it, and the event' });
    await turns();
    expect(drains).toBe(1);
  });

  test('dropped: what it held fails, and no byte of it goes out', async () => {
    const { socket, client, got } = await pair();
    const fence = raise(socket);
    fence.hold();
    const failed: string[] = [];
    socket.write('never', (error) => failed.push(`write: ${error?.message}`));
    socket.end(((error?: Error) => failed.push(`end: ${error?.message}`)) as () => void);
    fence.drop(new Error('gone'));
    socket.destroy();
    await once(client, 'end');
    expect([failed, got()]).toEqual([['write: gone', 'end: gone'], '']);
  });
});

describe('where Node hides how a socket is stopped', () => {
  test('there is no fence, and nothing has happened', async () => {
    const { socket, client } = await pair();
    hideReadStop(socket);
    expect(Fence.raise(socket)).toBeUndefined();
    client.write('x');
    expect(String((await once(socket, 'data'))[0])).toBe('x');
  });

  test('G3: an HTTP/1 connection stays, and is asked to end with its next response', async () => {
    const [from, to] = [await site(1), await site(2)];
    from.server.prependListener('request', ({ socket }) => hideReadStop(socket));
    const client = new Wire(from.port).get('/first');
    expect(await client.response()).toMatchObject({ pid: 1 });
    const transfer = Transfer.between(from, to);
    transfer.run();
    const stop = from.managed.whenMovable(() => transfer.offering.sweepSoon());
    from.managed.suspend();
    const drained = from.managed.drain({ moves: true });
    transfer.offering.sweepSoon();
    await turns();
    expect([transfer.offering.moved, from.managed.connectionCount]).toEqual([0, 1]);
    stop();
    from.managed.stay();
    const last = client.get('/last').response();
    expect(await last).toMatchObject({
      pid: 1,
      head: expect.arrayContaining([expect.stringMatching(/^connection: close$/i)]),
    });
    client.close();
    await drained;
  });

  test('G3: a raw connection stays, and its app is not asked', async () => {
    const [from, to] = [await rawSite(1), await rawSite(2)];
    const [client] = await clients(from, 1);
    hideReadStop(from.socket());
    const transfer = Transfer.between(from, to);
    transfer.run();
    const stop = from.managed.whenMovable(() => transfer.offering.sweepSoon());
    await turns();
    expect(await client?.ask('x')).toBe('1 1 x');
    expect([transfer.offering.moved, from.heard.includes('saved')]).toEqual([0, false]);
    stop();
    await counted(from, 1);
  });
});
