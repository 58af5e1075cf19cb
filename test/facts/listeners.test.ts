// What the kernel and Node do with listeners, as FACTS.md has it: K9, K12, N1 to N6, N8, N12. A test that fails here
// says that the ground has moved, not that our code is wrong.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, openSync } from 'node:fs';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bindListener, closeFd, describeFd, dupFd, recvFds, sendFds } from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import { byte, close, disown, onLinux, own, pair, temporaryFolder } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { hasPython, python } from '../native/sandbox.js';

expectNoLeaks();

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

const portOf = (fd: number): number => (describeFd(fd).socket?.local as net.AddressInfo).port;
const listener = (reusePort = false, port = 0): number =>
  own(bindListener({ port, host: '127.0.0.1', ...(reusePort && { reusePort }) }));

async function listen(server: net.Server, ...where: unknown[]): Promise<void> {
  onTestFinished(() => {
    server.close();
  });
  const listening = once(server, 'listening');
  Reflect.apply(server.listen, server, where);
  await listening;
}

/** The error `listen` reports in an event. */
async function listenError(where: object): Promise<NodeJS.ErrnoException> {
  const server = net.createServer();
  const [error] = (await once(server.listen(where), 'error')) as [NodeJS.ErrnoException];
  return error;
}

function isOpen(fd: number): boolean {
  return native().getCloexec(fd) >= 0;
}

async function connected(port: number, host = '127.0.0.1'): Promise<net.Socket> {
  const client = net.connect(port, host);
  onTestFinished(() => {
    client.destroy();
  });
  client.on('error', () => {});
  await once(client, 'connect');
  return client;
}

describe.runIf(onLinux)('kernel', () => {
  test('K9: a listener that exists only inside an unread message still accepts into its backlog', async () => {
    const fd = listener();
    const port = portOf(fd);
    const [a, b] = pair();
    sendFds(a, byte, [fd]);
    close(fd);
    const client = await connected(port);
    const [again = -1] = recvFds(b).fds;
    const server = net.createServer((socket) => socket.end('served'));
    await listen(server, { fd: again });
    const [text] = (await once(client, 'data')) as [Buffer];
    expect(text.toString()).toBe('served');
  });

  test('K12: closing one listener of a reuseport group resets what is queued on it; one shared listener resets none', async () => {
    const resetBy = async (shared: boolean): Promise<number> => {
      const one = listener(!shared);
      const other = shared ? own(dupFd(one)) : listener(true, portOf(one));
      const clients = await Promise.all(Array.from({ length: 60 }, () => connected(portOf(one))));
      let resets = 0;
      const ends = clients.map(async (client) => {
        client.on('error', () => resets++);
        await new Promise((resolve) => client.once('close', resolve));
      });
      close(one);
      const server = net.createServer((socket) => socket.end());
      await listen(server, { fd: disown(other) });
      for (const client of clients) client.resume();
      await Promise.all(ends);
      return resets;
    };
    expect(await resetBy(false)).toBeGreaterThan(0);
    expect(await resetBy(true)).toBe(0);
  });
});

describe('N1: listen({ fd })', () => {
  const kinds: [string, () => net.Server][] = [
    ['net', () => net.createServer()],
    ['http', () => http.createServer()],
    ['https', () => https.createServer()],
    ['http2', () => http2.createServer()],
  ];
  const places: [string, () => Parameters<typeof bindListener>[0]][] = [
    ['TCP', () => ({ port: 0, host: '127.0.0.1' })],
    ['IPv6', () => ({ port: 0, host: '::1' })],
    ['dual stack', () => ({ port: 0 })],
    ['Unix', () => ({ path: join(temporaryFolder(), 'x.sock') })],
  ];

  test.each(
    kinds.flatMap(([kind, make]) => places.map(([place, where]) => [kind, place, make, where] as const)),
  )('N1: works for %s on %s', async (_, __, make, where) => {
    const fd = bindListener(where());
    await listen(make(), { fd });
  });

  test.runIf(onLinux)(
    'N1: it calls listen(2) again: { fd, backlog } is ignored, listen({ fd }, backlog) is used',
    async () => {
      /** How many connections the kernel completes, at most 12. */
      const queued = async (where: (fd: number) => unknown[]): Promise<number> => {
        const path = join(temporaryFolder(), 'x.sock');
        const server = net.createServer();
        const fd = bindListener({ path, backlog: 2 });
        const copy = own(dupFd(fd));
        await listen(server, ...where(fd));
        server.close();
        const { AF_UNIX, SOCK_STREAM } = native().constants;
        for (let count = 0; count < 12; count++) {
          const client = own(native().socket(AF_UNIX, SOCK_STREAM, 0));
          native().setNonblocking(client, true);
          if (native().connectUnix(client, Buffer.from(path)) < 0) return count;
        }
        expect(describeFd(copy).socket?.listening).toBe(true);
        return 12;
      };
      expect(await queued((fd) => [{ fd }])).toBe(12);
      expect(await queued((fd) => [{ fd, backlog: 3 }])).toBe(12);
      expect(await queued((fd) => [{ fd }, 3])).toBe(4);
    },
  );
});

test('N2: listen({ fd }) sets O_NONBLOCK, not close-on-exec; close() closes the descriptor', async () => {
  const fd = bindListener({ port: 0, host: '127.0.0.1' });
  native().setNonblocking(fd, false);
  native().setCloexec(fd, false);
  const server = net.createServer();
  await listen(server, { fd });
  expect(describeFd(fd)).toMatchObject({ nonblocking: true, cloexec: false });
  server.close();
  await once(server, 'close');
  expect(isOpen(fd)).toBe(false);
});

describe('N3: what listen({ fd }) makes of other descriptors', () => {
  test('N3: an unbound socket is silently bound to every address on a random port', async () => {
    const { AF_INET, SOCK_STREAM } = native().constants;
    const server = net.createServer();
    await listen(server, { fd: native().socket(AF_INET, SOCK_STREAM, 0) });
    expect(server.address()).toMatchObject({ address: '0.0.0.0', port: expect.any(Number) });
  });

  test('N3: -1 throws, one that is not open is EINVAL in an event', async () => {
    expect(() => net.createServer().listen({ fd: -1 })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
    );
    const fd = dupFd(2, 500);
    closeFd(fd);
    expect((await listenError({ fd })).code).toBe('EINVAL');
  });

  test.each<[string, () => number, boolean]>([
    ['a file', () => openSync('/dev/null', 'r'), true],
    ['a UDP socket', () => bindListener({ protocol: 'udp', port: 0, host: '127.0.0.1' }), true],
    ['a Unix datagram socket', () => disown(pair('dgram')[0]), true],
    ['a SEQPACKET socket', () => disown(pair('seqpacket')[0]), true],
    ['a connected stream', () => disown(pair()[0]), false],
  ])('N3: %s is EINVAL', async (_, make, isLeftOpen) => {
    const fd = make();
    expect((await listenError({ fd })).code).toBe('EINVAL');
    expect(isOpen(fd)).toBe(isLeftOpen);
    if (isLeftOpen) closeFd(fd);
  });
});

describe('N4: Unix paths', () => {
  test('N4: an adopted Unix listener has no address() and its path is never unlinked', async () => {
    const path = join(temporaryFolder(), 'x.sock');
    const server = net.createServer();
    await listen(server, { fd: bindListener({ path }) });
    expect(server.address()).toBe(null);
    server.close();
    await once(server, 'close');
    expect(existsSync(path)).toBe(true);
  });

  test("N4: Node's own listen(path) unlinks on close, though a copy still listens", async () => {
    const path = join(temporaryFolder(), 'x.sock');
    const server = net.createServer();
    await listen(server, path);
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const copy = own(dupFd(fd));
    server.close();
    await once(server, 'close');
    expect(existsSync(path)).toBe(false);
    expect(describeFd(copy).socket?.listening).toBe(true);
  });
});

test('N5: the same descriptor twice in one process is EEXIST; a dup works', async () => {
  const fd = bindListener({ port: 0, host: '127.0.0.1' });
  await listen(net.createServer(), { fd });
  expect((await listenError({ fd })).code).toBe('EEXIST');
  await listen(net.createServer(), { fd: dupFd(fd) });
});

test('N6: net.Server.close of an http server leaves idle connections; it listens again; http close() destroys them', async () => {
  const server = http.createServer((_, response) => response.end('answer'));
  const fd = listener();
  await listen(server, { fd: dupFd(fd) });
  const client = await connected(portOf(fd));
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(client, 'data');
  net.Server.prototype.close.call(server);
  const queued = await connected(portOf(fd));
  queued.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(client, 'data');
  expect(queued.bytesRead).toBe(0);
  const again = once(server, 'listening');
  server.listen({ fd: dupFd(fd) });
  await again;
  await once(queued, 'data');
  const ends = [once(client, 'end'), once(queued, 'end')];
  server.close();
  await Promise.all(ends);
});

describe('N8: reusePort of Node itself', () => {
  const isThere = major > 22 || (major === 22 && minor >= 12);

  test(`N8: in listen() it is ${isThere ? 'used' : 'ignored'} here`, async () => {
    const fd = listener(true);
    const server = net.createServer();
    const where = { port: portOf(fd), host: '127.0.0.1', reusePort: true };
    if (isThere) await listen(server, where);
    else expect((await listenError(where)).code).toBe('EADDRINUSE');
  });
});

describe('N12: dgram', () => {
  test("N12: bind({ fd }) works and 'listening' is synchronous", async () => {
    const socket = createSocket('udp4');
    onTestFinished(() => {
      socket.close();
    });
    let isListening = false;
    socket.once('listening', () => {
      isListening = true;
    });
    socket.bind({ fd: bindListener({ protocol: 'udp', port: 0, host: '127.0.0.1' }) });
    expect(isListening).toBe(true);
  });

  test.runIf(hasPython)('N12: one that is connected refuses send() with an address', async () => {
    const socket = createSocket('udp4');
    onTestFinished(() => {
      socket.close();
    });
    const fd = bindListener({ protocol: 'udp', port: 0, host: '127.0.0.1' });
    const other = own(bindListener({ protocol: 'udp', port: 0, host: '127.0.0.1' }));
    python(`socket.socket(fileno=3).connect(('127.0.0.1', ${portOf(other)}))`, [fd]);
    socket.bind({ fd });
    const error = await new Promise<Error | null>((resolve) => socket.send('x', portOf(other), '127.0.0.1', resolve));
    expect(error).toMatchObject({ code: 'EISCONN' });
  });
});
