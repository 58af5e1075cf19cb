// G1: apps that look whether a port is free before they listen, as `serve`, portfinder, get-port and detect-port do. In a
// successor the port is its predecessor's, and they must find it free all the same.
import net from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type App, type Boot, boot, useApps } from '../handover/apps.js';
import { HttpConnection, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { preload, replace, terminate } from './preloaded.js';

expectNoLeaks();
const apps = useApps();

interface Try {
  /** By listening there, or by connecting to it. */
  readonly by: 'listen' | 'connect';
  readonly where: object;
  /** Milliseconds a listening try stays. */
  readonly stays?: number;
}

/** Tries, and then listens at `where`, or at the next port if one try found the port taken. */
function probing(tries: readonly Try[], where: { readonly port: number; readonly host?: string }): Boot {
  return boot(
    async (inside, tries, where) => {
      const { createServer, connect } = process.getBuiltinModule('node:net');
      const { once } = process.getBuiltinModule('node:events');
      const isFree = async ({ by, where, stays = 0 }: Try): Promise<boolean> => {
        if (by === 'connect') {
          const socket = connect(where as { port: number });
          const found = await once(socket, 'connect').then(
            () => undefined,
            (error: NodeJS.ErrnoException) => error,
          );
          socket.destroy();
          inside.say('found', found?.code ?? 'somebody');
          return found?.code === 'ECONNREFUSED';
        }
        const server = createServer();
        const events: string[] = [];
        for (const event of ['listening', 'close', 'error']) server.on(event, () => events.push(event));
        const before = server.listen(where).listening;
        try {
          await once(server, 'listening');
        } catch (error) {
          inside.say('found', (error as NodeJS.ErrnoException).code);
          return false;
        }
        const { port } = server.address() as { port: number };
        await new Promise((resolve) => setTimeout(resolve, stays));
        const closed = new Promise<unknown>((resolve) => server.close(resolve));
        const { listening } = server;
        const error = await closed;
        await new Promise(setImmediate);
        inside.say('found', { before, port, listening, error: error ?? null, events });
        return true;
      };
      let isTaken = false;
      for (const each of tries) isTaken = !(await isFree(each)) || isTaken;
      const server = inside.create('http').listen({ ...where, port: where.port + (isTaken ? 1 : 0) });
      inside.kept.server = server;
      await once(server, 'listening');
      inside.say('port', (server.address() as { port: number }).port);
    },
    tries,
    where,
  );
}

/** Two handovers, while clients come anew all the time: nobody is refused, and what is served is the same port. */
async function expectHandedOver(tried: readonly Try[], where: { port: number; host?: string }): Promise<App[]> {
  const { chain, first } = await preload(apps, probing(tried, where), { claimTimeout: 30_000 });
  expect(await first.said('port')).toBe(where.port);
  await first.said('handover:in-charge');
  const load = new Load();
  const clients = Array.from({ length: 3 }, () => new HttpConnection({ port: where.port, host: '127.0.0.1' }));
  for (const client of clients) load.loop(() => client.request('/', undefined, true), 1);
  const second = await replace(chain, first, 2);
  const third = await replace(chain, second, 3);
  await load.stop();
  for (const client of clients) client.close();
  expect(load.failures).toEqual([]);
  for (const app of [second, third]) {
    expect(await app.said('handover:in-charge')).toMatchObject({ unclaimed: [] });
    expect(await app.said('port')).toBe(where.port);
  }
  await terminate(third);
  return [first, second, third];
}

describe('by listening', () => {
  it.each<[string, string | undefined, readonly (string | undefined)[]]>([
    ['the same address', undefined, [undefined]],
    ['others that a listener of every host covers', undefined, [undefined, '0.0.0.0', '127.0.0.1', '::1', '::']],
    ['the addresses of every host, over one of its own', '127.0.0.1', [undefined, '0.0.0.0', '127.0.0.1', '::1']],
  ])('G1: %s', async (_, host, hosts) => {
    const port = freePort();
    const tries = hosts.map((host) => ({ by: 'listen' as const, where: { port, ...(host && { host }) } }));
    const generations = await expectHandedOver(tries, { port, ...(host && { host }) });
    const seen = { before: true, port, listening: false, error: null, events: ['listening', 'close'] };
    for (const app of generations) expect(app.allSaid('found')).toEqual(hosts.map(() => seen));
  });

  it('G1, G2: a try that stays longer than an app takes to go on accepts no client', async () => {
    const port = freePort();
    await expectHandedOver([{ by: 'listen', where: { port }, stays: 400 }], { port });
  });

  it('what this process serves, or a stranger, is taken as ever', async () => {
    const port = freePort();
    const stranger = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => stranger.once('listening', resolve));
    const { port: taken } = stranger.address() as { port: number };
    const again = async (app: App): Promise<unknown> => {
      return app.run(
        async (_, ports) => {
          const { createServer } = process.getBuiltinModule('node:net');
          const codeAt = (port: number): Promise<unknown> =>
            new Promise((resolve) => {
              const server = createServer().once('error', ({ code }: NodeJS.ErrnoException) => resolve(code));
              server.listen({ port }, () => server.close(() => resolve('free')));
            });
          return Promise.all(ports.map(codeAt));
        },
        [port, taken],
      );
    };
    const { chain, first } = await preload(apps, probing([], { port }));
    await first.said('handover:in-charge');
    expect(await again(first)).toEqual(['EADDRINUSE', 'EADDRINUSE']);
    const second = await replace(chain, first, 2);
    expect(await again(second)).toEqual(['EADDRINUSE', 'EADDRINUSE']);
    stranger.close();
    await terminate(second);
  });

  it('G1, G5: one that listens for good where an inherited listener is in the way: the handover fails', async () => {
    const port = freePort();
    const boots = [probing([], { port }), probing([], { port, host: '127.0.0.1' })];
    const { chain, first } = await preload(apps, boots, { claimTimeout: 100 });
    await first.said('handover:in-charge');
    first.process.signal('SIGUSR2');
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_UNCLAIMED' });
    await (await chain.generation(2)).gone();
    const client = new HttpConnection({ port, host: '127.0.0.1' });
    expect((await client.request('/', undefined, true)).pid).toBe(first.pid);
    client.close();
    await terminate(first);
  });
});

describe('by connecting', () => {
  it.each(['localhost', '127.0.0.1', '::1', undefined])('G1: to %s', async (host) => {
    const port = freePort();
    const tries: Try[] = [{ by: 'connect', where: { port, ...(host !== undefined && { host }) } }];
    const generations = await expectHandedOver(tries, { port });
    for (const app of generations) expect(app.allSaid('found')).toEqual(['ECONNREFUSED']);
  });

  it('other ports answer as ever, and this one once it is served', async () => {
    const other = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    onTestFinished(() => void other.close());
    await new Promise((resolve) => other.once('listening', resolve));
    // After it: the kernel may give the port that was free a moment ago to whoever asks for any.
    const port = freePort();
    const { port: otherPort } = other.address() as { port: number };
    const tries: Try[] = [{ by: 'connect', where: { port: otherPort, host: '127.0.0.1' } }];
    const { chain, first } = await preload(apps, probing(tries, { port }));
    await first.said('handover:in-charge');
    const second = await replace(chain, first, 2);
    expect([first.allSaid('found'), second.allSaid('found')]).toEqual([['somebody'], ['somebody']]);
    const served = await second.said<number>('port');
    const status = await second.run(async (_, port) => (await fetch(`http://127.0.0.1:${port}/`)).status, served);
    expect(status).toBe(200);
    await terminate(second);
  });
});

describe('opened long after the start', () => {
  it('G1: fails no handover, and is served by the old process to its end', async () => {
    const port = freePort();
    const { chain, first } = await preload(apps, probing([], { port }), {
      claimTimeout: 0,
      drain: { timeout: 20_000 },
    });
    await first.said('handover:in-charge');
    const client = new HttpConnection({ port, host: '127.0.0.1' });
    const held = client.request('/hold');
    await first.said('held');
    // For one session, as FTP has them.
    const passive = await first.run(async ({ kept }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const server = process.getBuiltinModule('node:net').createServer((socket) => socket.end('data'));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      kept.passive = server;
      return (server.address() as { port: number }).port;
    });
    first.process.signal('SIGUSR2');
    await Promise.race([
      first.said('handover:superseded'),
      first.said('handover:failed').then((failure) => Promise.reject(new Error(JSON.stringify(failure)))),
    ]);
    const second = await chain.generation(2);
    expect(await second.said('handover:in-charge')).toMatchObject({ claimed: [`tcp://*:${port}`] });
    const data = await new Promise<string>((resolve, reject) => {
      let text = '';
      net
        .connect(passive, '127.0.0.1')
        .setEncoding('latin1')
        .on('data', (bytes) => (text += bytes))
        .on('end', () => resolve(text))
        .on('error', reject);
    });
    expect(data).toBe('data');
    await first.run(({ servers }) => servers.http?.release());
    expect((await held).pid).toBe(first.pid);
    client.close();
    await first.gone();
    await terminate(second);
  });
});
