// What the kernel tells of a listener: its accept queue, and who holds it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { acceptQueue } from '../../lib/fd/accept-queue.js';
import { holdersOf } from '../../lib/fd/holders.js';
import { bindListener, describeFd } from '../../lib/fd/index.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { onLinux, own, pair, temporaryFolder } from './sandbox.js';

expectNoLeaks();

const HOST = '127.0.0.1';

it.skipIf(!onLinux)('the queue: how many connections wait, and how many may', async () => {
  const fd = own(bindListener({ port: 0, host: HOST, backlog: 7 }));
  expect(acceptQueue(fd)).toEqual({ depth: 0, limit: 7 });
  const { local } = describeFd(fd).socket ?? {};
  const clients = [1, 2, 3].map(() => net.connect({ host: HOST, port: (local as net.AddressInfo).port }));
  await Promise.all(clients.map((client) => once(client, 'connect')));
  expect(acceptQueue(fd)).toEqual({ depth: 3, limit: 7 });
  for (const client of clients) client.destroy();
  await Promise.all(clients.map((client) => once(client, 'close')));
});

it('nothing of a Unix listener, a datagram socket, a connection', () => {
  const [connection] = pair();
  const unix = own(bindListener({ path: join(temporaryFolder(), 'x.sock') }));
  const udp = own(bindListener({ protocol: 'udp', port: 0, host: HOST }));
  expect([unix, udp, connection].map(acceptQueue)).toEqual([undefined, undefined, undefined]);
});

it.skipIf(!onLinux)('every process that holds a socket, each once', async () => {
  const fd = own(bindListener({ port: 0, host: HOST }));
  const inode = String(describeFd(fd).inode);
  expect(holdersOf([inode, '1'])).toEqual(
    new Map([
      [inode, [process.pid]],
      ['1', []],
    ]),
  );
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], {
    stdio: ['pipe', 'ignore', 'ignore', fd, fd],
  });
  await once(child, 'spawn');
  const pids = [process.pid, child.pid as number].sort((a, b) => a - b);
  expect(holdersOf([inode]).get(inode)).toEqual(pids);
  child.stdin?.end();
  await once(child, 'close');
});
