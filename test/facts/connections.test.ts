// What Node does with sockets of live connections, as FACTS.md has it: C1, C2, C4, C7, and N9 for servers and sockets.
import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bindListener, closeFd, dupFd, recvFds, sendFds } from '../../lib/fd/index.js';
import { disown, isAtEnd, own, pair } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';

expectNoLeaks();

interface WithHandle {
  readonly _handle: { readonly fd: number; readStop(): number; readStart(): number };
}

const handleOf = (of: net.Socket | net.Server): WithHandle['_handle'] => (of as unknown as WithHandle)._handle;

function adopt(fd: number, options: object = {}): net.Socket {
  const socket = new net.Socket({
    fd: disown(fd),
    readable: true,
    writable: true,
    ...options,
  } as net.SocketConstructorOpts);
  onTestFinished(() => {
    socket.destroy();
  });
  return socket;
}

async function listening(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    (server as http.Server).closeAllConnections?.();
  });
  return (server.address() as net.AddressInfo).port;
}

async function connected(port: number): Promise<net.Socket> {
  const client = net.connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => {
    client.destroy();
  });
  await once(client, 'connect');
  return client;
}

async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

/** Whether bytes still wait in the kernel on this descriptor, a copy of one that Node may be reading. */
function waits(fd: number): boolean {
  try {
    return recvFds(fd, { maxBytes: 1 }).bytes.length > 0;
  } catch {
    return false;
  }
}

describe('C1: new net.Socket({ fd })', () => {
  test('C1: reads at once; with pauseOnCreate it does not, and needs resume()', async () => {
    const [eager, a] = pair();
    sendFds(a, Buffer.from('eager'), []);
    const copyOfEager = own(dupFd(eager));
    adopt(eager);
    await turns();
    expect(waits(copyOfEager)).toBe(false);

    const [lazy, b] = pair();
    sendFds(b, Buffer.from('lazy'), []);
    const socket = adopt(lazy, { pauseOnCreate: true });
    await turns();
    expect(socket.bytesRead).toBe(0);
    socket.resume();
    const [text] = (await once(socket, 'data')) as [Buffer];
    expect(text.toString()).toBe('lazy');
  });

  test('C1: a listening socket is not refused', () => {
    expect(() => adopt(own(bindListener({ port: 0, host: '127.0.0.1' })))).not.toThrow();
  });
});

test("C2: emit('connection') works for http; it is not in getConnections(), and close() does not wait for it", async () => {
  const server = http.createServer((_, response) => response.end('answer'));
  await listening(server);
  const [ours, theirs] = pair();
  const client = adopt(theirs);
  server.emit('connection', adopt(ours));
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [text] = (await once(client, 'data')) as [Buffer];
  expect(text.toString()).toContain('answer');
  expect(await new Promise((resolve) => server.getConnections((_, count) => resolve(count)))).toBe(0);
});

describe('C4: detaching a connection', () => {
  test('C4: readStop(), dup, destroy(): no FIN; the copy goes on', async () => {
    const [ours, theirs] = pair();
    const socket = adopt(ours, { pauseOnCreate: true });
    socket.resume();
    await nextTurn();
    expect(handleOf(socket).readStop()).toBe(0);
    const copy = own(dupFd(handleOf(socket).fd));
    sendFds(theirs, Buffer.from('unread'), []);
    await turns();
    expect(socket.bytesRead).toBe(0);
    socket.destroy();
    await once(socket, 'close');
    expect(isAtEnd(theirs)).toBe(false);
    expect(recvFds(copy).bytes.toString()).toBe('unread');
  });

  test('C4: readStart() resumes as if nothing had been', async () => {
    const [ours, theirs] = pair();
    const socket = adopt(ours);
    socket.resume();
    await nextTurn();
    handleOf(socket).readStop();
    sendFds(theirs, Buffer.from('later'), []);
    await turns();
    expect(socket.bytesRead).toBe(0);
    const next = once(socket, 'data');
    expect(handleOf(socket).readStart()).toBe(0);
    expect(String((await next)[0])).toBe('later');
  });

  test('C4: pause() alone keeps pulling', async () => {
    const [ours, theirs] = pair();
    const socket = adopt(ours);
    socket.resume();
    await nextTurn();
    socket.pause();
    sendFds(theirs, Buffer.from('pulled'), []);
    await until(() => socket.bytesRead > 0, { what: 'bytes to be pulled' });
  });

  test('C4: end() sends a FIN through every copy', async () => {
    const [ours, theirs] = pair();
    own(dupFd(ours));
    const socket = adopt(ours);
    socket.end();
    await until(() => isAtEnd(theirs), { what: 'the FIN' });
  });
});

describe('C7: http close()', () => {
  test('C7: leaves a response in flight, and the connection serves on; shouldKeepAlive = false ends it', async () => {
    const responses: http.ServerResponse[] = [];
    const server = http.createServer((_, response) => responses.push(response));
    const client = await connected(await listening(server));
    const ask = (): boolean => client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    ask();
    const first = await until(() => responses[0], { what: 'the first request' });
    server.close();
    first.end('first');
    expect(String((await once(client, 'data'))[0])).toContain('first');
    ask();
    await until(() => responses[1], { what: 'the second request, on a connection that lives on' });
    const second = responses[1] as http.ServerResponse;
    second.shouldKeepAlive = false;
    second.end('second');
    client.resume();
    await once(client, 'end');
  });

  test('C7: closeAllConnections() does not end an upgraded socket, and close() waits for it', async () => {
    const server = http.createServer();
    const upgraded = new Promise<net.Socket>((resolve) => {
      server.on('upgrade', (_, socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n');
        resolve(socket as net.Socket);
      });
    });
    const client = await connected(await listening(server));
    client.write('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n');
    const socket = await upgraded;
    let closed = false;
    const whenClosed = new Promise<void>((resolve) => {
      server.close(() => {
        closed = true;
        resolve();
      });
    });
    server.closeAllConnections();
    await turns();
    expect([closed, socket.destroyed]).toEqual([false, false]);
    socket.destroy();
    await whenClosed;
  });
});

test('N9: _handle.fd names the descriptor of a server and of a socket', async () => {
  const server = net.createServer();
  const client = await connected(await listening(server));
  for (const of of [server, client]) expect(handleOf(of).fd).toBeGreaterThan(2);
  expect(() => closeFd(dupFd(handleOf(client).fd))).not.toThrow();
});
