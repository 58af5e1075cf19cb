// A program that knows nothing of the package as a worker of `handover run`, and on standby.
import { expect, it, onTestFinished } from 'vitest';
import { boot, useApps } from '../handover/apps.js';
import { HttpConnection, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { until } from '../helpers/until.js';
import { AUTO, fixture, terminate } from './preloaded.js';

expectNoLeaks();
const { start, chain } = useApps();

const PLAIN = fixture('plain.mjs');

it('G2, G3: handover run replaces its workers under load: no request fails, no connection is closed', async () => {
  const port = freePort();
  const supervisor = start(new URL('../supervisor/fixtures/run.mjs', import.meta.url), {
    args: ['--workers', '2', '--settle', '300', '--', process.execPath, '--import', AUTO, PLAIN],
    env: { PORT: String(port), HANDOVER_AUTO: '{"probation":{"duration":0}}' },
  });
  await supervisor.errorLine(/workers serve/);
  const clients = Array.from({ length: 8 }, () => new HttpConnection({ port, host: '127.0.0.1' }));
  onTestFinished(() => clients.forEach((client) => void client.close()));
  await using load = new Load();
  const answeredBy = new Map<HttpConnection, number>();
  for (const client of clients) {
    load.loop(async () => {
      const answer = await client.request('/');
      answeredBy.set(client, answer.pid);
      return answer;
    }, 20);
  }
  await until(() => load.total >= 20, { what: 'answers', interval: 10 });
  supervisor.child.kill('SIGUSR2');
  const workers = new Set<number>();
  for (let worker = 0; worker < 2; worker++) {
    const [, pid] = await supervisor.errorLine(/worker \d+ is pid (\d+) now/, 30_000);
    workers.add(Number(pid));
  }
  // By either of them: all eight may have come to one of the first two.
  const areMoved = (): boolean => clients.every((client) => workers.has(answeredBy.get(client) ?? 0));
  await until(() => areMoved() || load.failures.length > 0, { what: 'the new workers to answer all', interval: 10 });
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(clients.map(({ opened }) => opened)).toEqual(clients.map(() => 1));
  for (const client of clients) client.close();
  expect(await supervisor.stop('SIGTERM', 30_000)).toEqual({ code: 0, signal: null });
});

it('on standby it listens, and accepts from the commit on', async () => {
  const port = freePort();
  const { chain: processes, first } = await chain([
    boot(
      async (inside, port, auto) => {
        const args = ['--import', auto, ...process.argv.slice(1)];
        await inside.open({ successor: { args } });
        await inside.listen('http', { port, host: '127.0.0.1' });
        await inside.handover.ready();
      },
      port,
      AUTO,
    ),
    boot((inside, port) => {
      const server = inside.create('http').listen(port, '127.0.0.1', () => inside.say('listening'));
      inside.say('asked', server.listening);
    }, port),
  ]);
  await first.run(async ({ handover, kept }) => {
    kept.standby = await handover.prepare();
  });
  const second = await processes.generation(2);
  // It says so, because the app may wait for it before it goes on, and accepts nothing.
  expect(await second.said('asked')).toBe(true);
  await second.said('listening');
  expect(second.allSaid('handover:listen')).toMatchObject([{ origin: 'inherited' }]);
  const connection = new HttpConnection({ port, host: '127.0.0.1' });
  expect((await connection.request('/')).pid).toBe(first.pid);
  await first.run(({ kept }) => (kept.standby as { commit(): Promise<unknown> }).commit().then(() => {}));
  let { pid } = await connection.request('/');
  while (pid === first.pid) ({ pid } = await connection.request('/'));
  expect(pid).toBe(second.pid);
  connection.close();
  await first.run(({ handover }) => void handover.close()).catch(() => {});
  await first.gone();
  await terminate(second);
});
