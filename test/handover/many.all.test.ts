// G7: after N handovers a process holds what it held after the first.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, boot, useApps } from './apps.js';
import { HttpConnection, Load } from './clients.js';

expectNoLeaks();
const { chain } = useApps();

const HANDOVERS = 20;

const servers = boot(async (inside) => {
  await inside.open({ probation: { duration: 0 } });
  const { address } = await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
  await inside.listen('net', { name: 'raw', port: 0, host: '127.0.0.1' });
  await inside.listen('udp4', { name: 'datagrams', port: 0, host: '127.0.0.1' });
  await inside.handover.ready();
  inside.say('port', (address as { port: number }).port);
});

/** Kinds of descriptors and how many of each, without what the load has open; children, zombies among them. */
const holdings = (app: App) =>
  app.run(({ descriptors, children }) => {
    const counts: Record<string, number> = {};
    for (const line of descriptors()) {
      const kind = line.replace(/^\d+: /, '').replace(/:\[\d+\]$/, '');
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return { counts, children: children() };
  });

describe.runIf(process.platform === 'linux')('G7, G2', () => {
  it(`${HANDOVERS} handovers in a row under light load: descriptors and children are what they were after the first`, async () => {
    const { chain: processes, first } = await chain(servers);
    const port = await first.said<number>('port');
    let app = first;
    let after: unknown;
    for (let i = 1; i <= HANDOVERS; i++) {
      const target = { port, host: '127.0.0.1' };
      const clients = [new HttpConnection(target), new HttpConnection(target)] as const;
      const load = new Load();
      load.loop(() => clients[0].request('/'), 5).loop(() => clients[1].request('/', undefined, true));
      await load.answered(app.pid, 3);
      const { pid, generation } = await app.upgrade();
      expect(generation).toBe(i + 1);
      await load.answered(pid, 3);
      // Its last answer to each client says so; then nothing holds it.
      await app.gone();
      await load.stop();
      for (const client of clients) client.close();
      expect(load.failures).toEqual([]);
      app = await processes.generation(i + 1);
      if (i > 1) continue;
      after = await settled(app);
    }
    expect(await settled(app)).toEqual(after);
    expect(after).toMatchObject({ children: [] });
    await app.close();
    await processes.program.closed;
  }, 60_000);
});

/** What it holds when the connections of the load have ended. */
async function settled(app: App): Promise<unknown> {
  await app.run(
    ({ servers }) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          (servers.http as unknown as import('node:http').Server).getConnections((_, count) => {
            if (count === 0) resolve();
            else setImmediate(look);
          });
        };
        look();
      }),
  );
  return holdings(app);
}
