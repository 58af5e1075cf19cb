// `handover run` for long and with many: upgrades in a row, and connections by the thousand.
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { expectUnharmed, fixture, keepAlive, replaced, running, stop } from './running.js';

expectNoLeaks();
const { start } = usePrograms();
const MOODY = fixture('moody.mjs');

const CONNECTIONS = Number(process.env.HANDOVER_CONNECTIONS ?? 1_500);

describe('handover run', () => {
  it('G2, G3: ten upgrades in a row under load lose no request and close no connection; the pid stays', async () => {
    const app = await running(start, ['--workers', '2', '--max-surge', '2']);
    const traffic = keepAlive(app.port, 20);
    const { load } = traffic;
    const fresh = new HttpConnection({ port: app.port, host: '127.0.0.1' });
    load.loop(() => fresh.request('/', undefined, true), 5);
    const first = app.workers();
    for (let upgrade = 0; upgrade < 10; upgrade++) await replaced(app, 2);
    await until(() => app.workers().length === 2, { what: 'the old workers to leave' });
    await expectUnharmed(traffic);
    expect(load.answers.size).toBeGreaterThan(10);
    expect(app.workers().some((pid) => first.includes(pid))).toBe(false);
    await stop(app);
  }, 120_000);

  it('G7: after 12 upgrades supervisor and workers hold as many descriptors as after two', async () => {
    const app = await running(start, ['--workers', '2', '--max-surge', '2'], {
      command: [MOODY],
      listens: true,
      settle: 0,
    });
    const upgrades = async (count: number): Promise<number[]> => {
      for (let i = 0; i < count; i++) await replaced(app, 2);
      await until(() => app.workers().length === 2, { what: 'the old ones to leave' });
      return [app.supervisor.pid, ...app.workers()].map((pid) => openDescriptors(pid).size);
    };
    const early = await upgrades(2);
    // What both hold is the listener: in a worker the handover's and Node's own; the one of LISTEN_FDS is closed.
    const held = new Set(openDescriptors(app.supervisor.pid).values());
    const shared = [...openDescriptors(app.workers()[0] ?? 0)].filter(
      ([fd, target]) => fd > 2 && target.startsWith('socket:') && held.has(target),
    );
    expect(shared).toHaveLength(2);
    expect(await upgrades(Number(process.env.HANDOVER_CHAIN ?? 10))).toEqual(early);
    await stop(app);
  }, 300_000);

  it(`G3: ${CONNECTIONS} idle connections over two workers survive an upgrade`, async () => {
    const app = await running(start, ['--workers', '2']);
    const sockets: Socket[] = [];
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
    });
    let closed = 0;
    for (let i = 0; i < CONNECTIONS; i++) {
      const socket = connect({ port: app.port, host: '127.0.0.1' });
      socket.on('close', () => closed++).on('error', () => {});
      sockets.push(socket);
      if (i % 200 === 0) await new Promise((resolve) => socket.once('connect', resolve));
    }
    await ask(sockets);
    const before = app.workers();
    await replaced(app, 2);
    await until(() => app.workers().length === 2 && !app.workers().includes(before[0] ?? 0), {
      what: 'the old ones to leave',
      timeout: 30_000,
    });
    const pids = await ask(sockets);
    expect(closed).toBe(0);
    expect([...pids].every((pid) => !before.includes(pid))).toBe(true);
    expect(readdirSync(`/proc/${app.workers()[0]}/fd`).length).toBeGreaterThan(CONNECTIONS / 10);
    for (const socket of sockets) socket.destroy();
    await stop(app);
  }, 120_000);
});

/** Every connection sends a request; resolves with who answered. */
async function ask(sockets: readonly Socket[]): Promise<Set<number>> {
  const pids = new Set<number>();
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let text = '';
          const onData = (chunk: Buffer): void => {
            text += chunk.toString('latin1');
            if (!text.endsWith('hello\n')) return;
            socket.off('data', onData);
            pids.add(Number(/x-pid: (\d+)/i.exec(text)?.[1]));
            resolve();
          };
          socket.on('data', onData).once('close', () => reject(new Error('closed')));
          socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        }),
    ),
  );
  return pids;
}
