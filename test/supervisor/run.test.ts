// `handover run` with real workers under load: it keeps the pid and the port whatever becomes of the workers.
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { askOnce, EXAMPLE, expectUnharmed, FOREIGN, keepAlive, release, replaced, running, stop } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

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

  it('G1: kill -9 of a worker refuses no new connection; it comes back', async () => {
    const app = await running(start, ['--workers', '2']);
    const refused: string[] = [];
    let answered = 0;
    let isStopped = false;
    const loop = async (): Promise<void> => {
      while (!isStopped) {
        const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
        await client.request('/', undefined, true).then(
          () => answered++,
          (error: Error) => /ECONNREFUSED/.test(error.message) && refused.push(error.message),
        );
        client.close();
      }
    };
    const loops = Array.from({ length: 4 }, loop);
    for (let kill = 0; kill < 3; kill++) {
      const [victim = 0] = app.workers();
      process.kill(victim, 'SIGKILL');
      await until(() => app.workers().length === 2 && !app.workers().includes(victim), { what: 'a new worker' });
      const before = answered;
      await until(() => answered > before + 20, { what: 'answers' });
    }
    isStopped = true;
    await Promise.all(loops);
    expect(refused).toEqual([]);
    await stop(app);
  });

  it('G1: with one worker killed, who connects waits and is answered', async () => {
    const app = await running(start, [], { listens: true, command: [FOREIGN] });
    const [victim = 0] = app.workers();
    process.kill(victim, 'SIGKILL');
    await until(() => app.workers().length === 0, { what: 'its end' });
    const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
    expect((await client.request('/')).pid).not.toBe(victim);
    client.close();
    await stop(app);
  });

  it('G5: a broken release stops the roll with the old workers serving; mended, it rolls on', async () => {
    const root = release();
    const entry = join(root, 'server.mjs');
    const app = await running(start, ['--workers', '2'], { command: ['server.mjs'], cwd: root });
    const traffic = keepAlive(app.port, 6);
    const before = app.workers();
    writeFileSync(entry, 'this is no JavaScript');
    app.supervisor.child.kill('SIGHUP');
    await app.supervisor.errorLine(/the roll paused/, 30_000);
    expect(app.supervisor.stderr).toContain('SyntaxError');
    expect(app.workers()).toEqual(before);
    cpSync(EXAMPLE, entry);
    const { total } = traffic.load;
    await until(() => traffic.load.total > total + 10, { what: 'answers' });
    await replaced(app, 2);
    expect(before).not.toContain(await askOnce(app.port));
    await expectUnharmed(traffic);
    await stop(app);
  });

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
