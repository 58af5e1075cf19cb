// Workers that know nothing of this package, in another language, or behind a wrapper.
import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { HttpConnection, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { EXAMPLE, expectUnharmed, fixture, keepAlive, replaced, running, stop } from './running.js';

expectNoLeaks();
const { start } = usePrograms();
const hasPython = spawnSync('python3', ['--version']).status === 0;

describe('a worker', () => {
  it.skipIf(!hasPython)(
    'G1: in Python gets its socket by LISTEN_FDS, and a rolling restart that loses no request',
    async () => {
      const app = await running(start, ['--workers', '2'], {
        program: 'python3',
        command: [fixture('server.py')],
        listens: true,
      });
      const before = app.workers();
      const load = new Load();
      const clients = Array.from({ length: 3 }, () => new HttpConnection({ port: app.port, host: '127.0.0.1' }));
      for (const client of clients) load.loop(() => client.request('/', undefined, true), 2);
      await replaced(app, 2);
      await until(() => app.workers().length === 2, { what: 'the old ones to leave' });
      await load.stop();
      expect(load.failures).toEqual([]);
      expect(app.workers().some((pid) => before.includes(pid))).toBe(false);
      await stop(app);
    },
    60_000,
  );

  it('G3: behind a shell that waits for it is known by its own pid: signals, handovers and its end are right', async () => {
    const app = await running(start, [], {
      program: '/bin/sh',
      command: ['-c', `${process.execPath} ${EXAMPLE}; exit $?`],
      listens: true,
    });
    const traffic = keepAlive(app.port, 3);
    const [shell] = app.workers();
    await replaced(app, 1);
    await until(() => app.workers().length === 1 && app.workers()[0] !== shell, { what: 'the old one to leave' });
    await expectUnharmed(traffic);
    expect(traffic.load.answers.size).toBe(2);
    // Told to end with a request under way, which came along with one that has been answered: it is answered first.
    const socket = connect({ port: app.port, host: '127.0.0.1' }).setEncoding('latin1');
    let text = '';
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => text.includes('hello\n'), { what: 'the first answer' });
    await stop(app);
    expect(text).toContain('hello, after 300 ms');
    socket.destroy();
  }, 30_000);
});

if (!hasPython) process.stderr.write('SKIPPED: python3 is missing, the worker in another language was not tested\n');
