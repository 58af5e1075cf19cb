// The listeners of workers: the supervisor's, of every kind, shared by all, closed when no release uses them.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { bindListener, closeFd } from '../../dist/fd/index.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort, freeUdpPort } from '../helpers/ports.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { askOnce, EXAMPLE, FOREIGN, fixture, replaced, running, stop, temporary } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

interface Listening {
  readonly pid: number;
  readonly ports: readonly number[];
  readonly again: string;
  readonly named: string;
}

async function askUdp(port: number): Promise<number> {
  const socket = createSocket('udp4');
  try {
    socket.send('who', port, '127.0.0.1');
    const [message] = (await once(socket, 'message')) as [Buffer];
    return Number(message.toString());
  } finally {
    socket.close();
  }
}

/** How connecting ends: `connected` or the error's code. */
async function tryConnect(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  return new Promise<string>((resolve) => {
    socket
      .once('connect', () => resolve('connected'))
      .once('error', (error) => resolve(String(Reflect.get(error, 'code'))));
  }).finally(() => socket.destroy());
}

describe('listeners of workers', () => {
  it('G1: a path, ports the kernel chose and UDP are shared by all workers and generations; the path goes at the end', async () => {
    const path = join(temporary(), 'app.sock');
    const udp = freeUdpPort();
    const app = await running(start, ['--workers', '2'], {
      command: [fixture('places.mjs')],
      env: { UNIX_PATH: path, UDP_PORT: String(udp) },
    });
    const [one, two] = [
      await app.supervisor.message<Listening>('listening'),
      await app.supervisor.message<Listening>('listening'),
    ];
    expect(one.ports).toEqual(two.ports);
    expect(new Set(one.ports).size).toBe(2);
    expect(one).toMatchObject({ again: 'ERR_HANDOVER_ADDRESS_IN_USE', named: 'ERR_INVALID_ARG_TYPE' });
    const before = app.workers();
    await replaced(app, 2);
    await until(() => app.workers().length === 2, { what: 'the old ones to leave' });
    const client = new HttpConnection({ path });
    const pids = [await askOnce(one.ports[0] ?? 0), await askOnce(one.ports[1] ?? 0), await askOnce(app.port)];
    pids.push((await client.request('/')).pid, await askUdp(udp));
    client.close();
    expect(pids.every((pid) => app.workers().includes(pid) && !before.includes(pid))).toBe(true);
    expect(existsSync(path)).toBe(true);
    await stop(app);
    expect(existsSync(path)).toBe(false);
  }, 60_000);

  it('one that every worker has closed is closed: who connects is refused, not kept waiting', async () => {
    const path = join(temporary(), 'app.sock');
    const app = await running(start, ['--workers', '2'], {
      command: [fixture('places.mjs')],
      env: { UNIX_PATH: path, UDP_PORT: String(freeUdpPort()) },
    });
    const [first = 0, second = 0] = app.workers();
    process.kill(first, 'SIGALRM');
    for (let answers = 0; answers < 5; ) answers = (await askOnce(app.port)) === second ? answers + 1 : 0;
    expect(await tryConnect(app.port)).toBe('connected');
    expect(existsSync(path)).toBe(true);
    process.kill(second, 'SIGALRM');
    let last = '';
    await until(
      () => {
        void tryConnect(app.port).then((result) => {
          last = result;
        });
        return last === 'ECONNREFUSED';
      },
      { what: 'a refusal', interval: 20 },
    );
    expect(existsSync(path)).toBe(false);
    await stop(app);
  }, 30_000);

  it('the declared one is used under its name, whatever address the worker says', async () => {
    const app = await running(start, ['--listen', `extra=tcp://127.0.0.1:${freePort()}`], {
      command: [fixture('places.mjs')],
      env: { UNIX_PATH: join(temporary(), 'app.sock'), UDP_PORT: String(freeUdpPort()) },
    });
    const [, declared] = /extra=tcp:\/\/127.0.0.1:(\d+)/.exec(app.supervisor.child.spawnargs.join(' ')) ?? [];
    expect(await askOnce(Number(declared))).toBe(app.workers()[0]);
    expect(await tryConnect(app.port)).toBe('ECONNREFUSED');
    await stop(app);
  }, 30_000);

  it.each([
    ['foreign', [FOREIGN], []],
    ['own', [EXAMPLE], []],
    ['foreign, declared', [FOREIGN], ['--listen', 'web=tcp://127.0.0.1:1']],
  ])(
    'one passed along by LISTEN_FDS is the workers’ (%s)',
    async (_, command, options) => {
      const port = freePort();
      const fd = bindListener({ host: '127.0.0.1', port });
      onTestFinished(() => closeFd(fd));
      const env = { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web', PORT: String(port) };
      const app = await running(start, ['--workers', '2', ...options], { command, env, fds: [fd] });
      expect(app.workers()).toContain(await askOnce(port));
      expect(app.supervisor.stderr).not.toContain('started again');
      await stop(app);
    },
    30_000,
  );
});
