// UDP sockets under the handover: they stop receiving where Node lets them, and read on where it does not.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bindListener, dupFd } from '../../lib/fd/index.js';
import { ManagedDatagram } from '../../lib/protocols/udp.js';
import { startReceiving, stopReceiving } from '../../lib/sockets/datagram.js';
import { own } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

interface Setup {
  readonly managed: ManagedDatagram;
  readonly socket: Socket;
  readonly heard: string[];
  send(text: string): Promise<void>;
}

async function manage(): Promise<Setup> {
  const fd = own(bindListener({ protocol: 'udp', port: 0, host: '127.0.0.1' }));
  const socket = createSocket('udp4');
  const heard: string[] = [];
  socket.on('message', (text) => heard.push(text.toString())).on('close', () => heard.push('close'));
  const managed = new ManagedDatagram(socket, () => heard.push('closed by the app'));
  const client = createSocket('udp4');
  let open = true;
  socket.once('close', () => {
    open = false;
  });
  onTestFinished(() => {
    client.close();
    if (open) socket.close();
  });
  await managed.accept({ fd: dupFd(fd) });
  const { port } = socket.address();
  const send = (text: string): Promise<void> =>
    new Promise((resolve, reject) =>
      client.send(text, port, '127.0.0.1', (error) => (error ? reject(error) : resolve())),
    );
  return { managed, socket, heard, send };
}

async function turns(count = 10): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

/** Hides the state symbol, as a Node that has renamed it. */
function hideState(socket: Socket): void {
  const symbol = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'state symbol',
  ) as symbol;
  const state = Reflect.get(socket, symbol) as unknown;
  Reflect.deleteProperty(socket, symbol);
  Object.defineProperty(Object.getPrototypeOf(socket), symbol, { configurable: true, value: state });
  onTestFinished(() => {
    Reflect.deleteProperty(Object.getPrototypeOf(socket) as object, symbol);
    Object.defineProperty(socket, symbol, { configurable: true, writable: true, value: state });
  });
}

test('N9: this Node shows the handle of a datagram socket by its state symbol', async () => {
  const { socket } = await manage();
  expect(stopReceiving(socket)).toBe(true);
  expect(startReceiving(socket)).toBe(true);
});

describe('suspend and resume', () => {
  test('G1: datagrams wait in the kernel meanwhile, and sending goes on', async () => {
    const { managed, socket, heard, send } = await manage();
    await send('before');
    await once(socket, 'message');
    managed.suspend();
    await send('meanwhile');
    await turns();
    expect(heard).toEqual(['before']);
    const { port } = socket.address();
    await new Promise((resolve) => socket.send('from us', port, '127.0.0.1', resolve));
    const next = once(socket, 'message');
    await managed.resume();
    await next;
    expect(heard[1]).toBe('meanwhile');
  });

  test('where Node does not show the handle it reads on, drains at once, and nothing throws', async () => {
    const { managed, socket, heard, send } = await manage();
    hideState(socket);
    expect([stopReceiving(socket), startReceiving(socket)]).toEqual([false, false]);
    managed.suspend();
    const next = once(socket, 'message');
    await send('read on');
    await next;
    expect(heard).toEqual(['read on']);
    await managed.drain();
    await managed.resume();
    expect([managed.connectionCount, managed.cut()]).toEqual([0, 0]);
  });

  test('a closed one is neither stopped nor started', async () => {
    const { managed, socket } = await manage();
    socket.close();
    await once(socket, 'close');
    managed.suspend();
    await managed.resume();
    expect(stopReceiving(socket)).toBe(false);
  });
});

test('accept rejects with what bind(2) says', async () => {
  const socket = createSocket('udp4');
  onTestFinished(() => {
    socket.close();
  });
  const managed = new ManagedDatagram(socket, () => {});
  await expect(managed.accept({ port: 1, host: '192.0.2.1' })).rejects.toMatchObject({ syscall: 'bind' });
});

test("finish leaves alone what was never suspended; the app's own close is told", async () => {
  const first = await manage();
  first.socket.close();
  await once(first.socket, 'close');
  expect(first.heard).toEqual(['close', 'closed by the app']);
  const second = await manage();
  second.managed.finish();
  expect(second.heard).not.toContain('close');
  second.socket.close();
  await once(second.socket, 'close');
});
