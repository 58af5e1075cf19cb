// `handover run` with real workers under load: it keeps the pid and the port whatever becomes of the workers.
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { askOnce, EXAMPLE, expectUnharmed, FOREIGN, keepAlive, release, replaced, running, stop } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

describe('handover run', () => {
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
});
