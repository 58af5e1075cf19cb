// A socket made of a descriptor that came from another process, without asking the kernel what it is.
import { once } from 'node:events';
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { dupFd } from '../../lib/fd/index.js';
import { socketOf } from '../../lib/sockets/new-socket.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

interface Accepted {
  readonly server: Server;
  readonly client: Socket;
  /** A descriptor of the accepted connection, which nobody else uses. */
  readonly fd: number;
}

async function accept(where: ListenOptions): Promise<Accepted> {
  const server = createServer({ pauseOnConnect: true }).listen(where);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const address = server.address();
  const client = typeof address === 'string' ? connect(address) : connect(address?.port ?? 0, '127.0.0.1');
  client.setEncoding('utf8');
  await once(client, 'connect');
  const [socket] = await accepted;
  const fd = dupFd((socket as unknown as { _handle: { fd: number } })._handle.fd);
  socket.destroy();
  onTestFinished(async () => {
    client.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  return { server, client, fd };
}

/** What is said arrives, both ways, and the other end hears the end. */
async function expectToTalk(socket: Socket, client: Socket): Promise<void> {
  socket.setEncoding('utf8');
  client.write('here');
  expect(await once(socket, 'data')).toEqual(['here']);
  socket.write('there');
  expect(await once(client, 'data')).toEqual(['there']);
  socket.end();
  await once(client, 'end');
  socket.destroy();
  await once(socket, 'close');
}

const options = { readable: true, writable: true, allowHalfOpen: true };

describe('socketOf', () => {
  it('takes a TCP connection, with its addresses', async () => {
    const { server, client, fd } = await accept({ port: 0, host: '127.0.0.1' });
    const socket = socketOf(server, fd, options);
    expect([socket.remotePort, socket.localPort]).toEqual([client.localPort, client.remotePort]);
    expect(socket.allowHalfOpen).toBe(true);
    await expectToTalk(socket, client);
  });

  it('takes a connection to a Unix path', async () => {
    const folder = temporaryFolder();
    const { server, client, fd } = await accept({ path: join(folder, 'socket') });
    await expectToTalk(socketOf(server, fd, options), client);
  });

  it('asks the kernel where the server listens no more', async () => {
    const { server, client, fd } = await accept({ port: 0, host: '127.0.0.1' });
    await new Promise((resolve) => server.close(resolve));
    await expectToTalk(socketOf(server, fd, options), client);
  });

  it('throws where nothing is open, as Node does', async () => {
    const { server, fd } = await accept({ port: 0, host: '127.0.0.1' });
    const socket = socketOf(server, fd, options);
    socket.destroy();
    await once(socket, 'close');
    expect(() => socketOf(server, fd, options)).toThrow();
  });
});
