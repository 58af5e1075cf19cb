// What the app sees of its own server while it is handed over: nothing, until it is over.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, boot, type Kind, useApps } from './apps.js';
import { HttpConnection, LineConnection } from './clients.js';

expectNoLeaks();
const { chain } = useApps();

const listening = (kind: Kind) =>
  boot(async (inside, kind) => {
    await inside.open({ probation: { duration: 0 } });
    const server = inside.create(kind);
    for (const event of ['close', 'listening', 'error']) server.on(event, () => inside.say('server', event));
    const { address } = await inside.handover.listen(server, { name: 'web', port: 0, host: '127.0.0.1' });
    inside.say('port', (address as { port: number }).port);
    await inside.handover.ready();
  }, kind);

const target = async (app: App) => ({ port: await app.said<number>('port'), host: '127.0.0.1' });

interface Seen {
  readonly listening: boolean;
  readonly address: unknown;
  readonly own: string[];
}

const seen = (app: App): Promise<Seen> =>
  app.run(({ servers }) => {
    const server = Object.values(servers)[0] as unknown as import('node:net').Server;
    const own = ['emit', 'listening', 'address'].filter((name) => Object.hasOwn(server, name));
    return { listening: server.listening, address: server.address(), own };
  });

describe('from COMMIT to RETIRE', () => {
  it.each([
    'http',
    'net',
  ] as const)("%s: listening and address() answer as before; 'close' comes at the end", async (kind) => {
    const { chain: processes, first } = await chain(listening(kind));
    const line = new LineConnection(await target(first));
    const web = new HttpConnection(await target(first));
    const held = kind === 'http' ? web.request('/hold') : line.echo('held');
    if (kind === 'http') await first.said('held');
    else await held;
    const before = await seen(first);
    expect(before).toEqual({ listening: true, address: expect.anything(), own: [] });
    await first.upgrade();
    await first.said('handover:superseded');
    expect(await seen(first)).toMatchObject({ listening: true, address: before.address });
    expect(first.allSaid('server')).toEqual(['listening']);
    if (kind === 'http') await first.run(({ servers }) => servers.http?.release());
    await held;
    await line.close().catch(() => {});
    await first.gone();
    // Once, and after the last request.
    expect(first.allSaid('server')).toEqual(['listening', 'close']);
    web.close();
    await (await processes.generation(2)).close();
  });

  it('without a connection, too', async () => {
    const { chain: processes, first } = await chain(listening('http'));
    await first.run(({ handover, say, kept }) => {
      kept.drained = [];
      handover.onClose('order', () => say('server', 'hooks'));
    });
    await first.upgrade();
    await first.gone();
    expect(first.allSaid('server')).toEqual(['listening', 'close', 'hooks']);
    await (await processes.generation(2)).close();
  });

  it('G5: after a recall the app has heard nothing at all, and its server is as it was', async () => {
    const { chain: processes, first } = await chain(listening('http'));
    const web = new HttpConnection(await target(first));
    const held = web.request('/hold');
    await first.said('held');
    const before = await seen(first);
    await first.upgrade();
    const second = await processes.generation(2);
    second.process.signal('SIGKILL');
    await first.said('handover:failed');
    expect(await seen(first)).toEqual(before);
    expect(first.allSaid('server')).toEqual(['listening']);
    await first.run(({ servers }) => servers.http?.release());
    await held;
    web.close();
    expect((await web.request('/', undefined, true)).pid).toBe(first.pid);
    await first.close();
    expect(first.allSaid('server')).toEqual(['listening', 'close']);
  });

  it('server.close(callback) by the app means: drain now; the callback comes with the last connection', async () => {
    const { chain: processes, first } = await chain(listening('http'));
    const web = new HttpConnection(await target(first));
    const held = web.request('/hold');
    await first.said('held');
    await first.upgrade();
    await first.said('handover:superseded');
    const returned = await first.run(({ servers, say }) => {
      const server = servers.http as unknown as import('node:http').Server;
      return server.close((error) => say('server', error ? 'failed' : 'closed')) === server;
    });
    expect(returned).toBe(true);
    expect(first.allSaid('server')).toEqual(['listening']);
    await first.run(({ servers }) => servers.http?.release());
    await held;
    await first.gone();
    expect(first.allSaid('server')).toEqual(['listening', 'closed', 'close']);
    web.close();
    await (await processes.generation(2)).close();
  });
});

describe('server.close() by the app', () => {
  it('gives the address back: it is not handed over any more', async () => {
    const both = boot(async (inside) => {
      await inside.open({ probation: { duration: 0 } });
      const { address } = await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      const raw = await inside.listen('net', { name: 'raw', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
      inside.say(
        'ports',
        [address, raw.address].map((one) => (one as { port: number }).port),
      );
    });
    const { chain: processes, first } = await chain(both);
    const [web = 0, raw = 0] = await first.said<number[]>('ports');
    const error = await first.run(
      ({ servers }) =>
        new Promise((resolve) => {
          (servers.net as unknown as import('node:net').Server).close((error) => resolve(error ?? 'none'));
        }),
    );
    expect(error).toBe('none');
    const refused = new LineConnection({ port: raw, host: '127.0.0.1' });
    await expect(refused.echo('anyone?')).rejects.toThrow('ECONNREFUSED');
    expect(await first.upgrade()).toMatchObject({ claimed: ['web'], unclaimed: [] });
    const second = await processes.generation(2);
    await first.gone();
    const [again] = await second.said<number[]>('ports');
    expect(again).toBe(web);
    await second.close();
  });

  it('a name that was given back can be taken again', async () => {
    const { first } = await chain(listening('http'));
    const result = await first.run(async (inside) => {
      const taken = await inside
        .listen('net', { name: 'web', port: 0, host: '127.0.0.1' })
        .catch((error) => error.message);
      await new Promise((resolve) => (inside.servers.http as unknown as import('node:net').Server).close(resolve));
      const again = await inside.listen('net', { name: 'web', port: 0, host: '127.0.0.1' });
      return { taken, again: again.origin };
    });
    expect(result).toEqual({ taken: expect.stringContaining('"name" must be not in use'), again: 'bound' });
    await first.close();
  });
});
