// The app ends its part while the handover goes on, is taken back or fails: servers it closes, listeners that throw or end
// the process, and work that never ends.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type App, type Boot, boot, useApps } from './apps.js';
import { HttpConnection } from './clients.js';

expectNoLeaks();
const { chain } = useApps();
const EXIT_0 = { code: 0, signal: null };

/** serve() whose app listens to SIGTERM in this way; its listeners run when it drains. */
const serving = (listen: (inside: Parameters<Parameters<typeof boot>[0]>[0]) => unknown, options: object = {}): Boot =>
  boot(
    async (inside, listen, options) => {
      const server = inside.create('http');
      inside.handover = await inside.lib.serve(server, {
        name: 'web',
        port: 0,
        host: '127.0.0.1',
        probation: { duration: 0 },
        signals: { drain: 'SIGTERM' },
        ...options,
      });
      inside.handover.onClose('hook', () => inside.say('hook'));
      inside.say('port', (server.address() as { port: number }).port);
      await new Function(`return (${listen})`)()(inside);
    },
    listen.toString(),
    options,
  );

const client = async (app: App) => new HttpConnection({ port: await app.said<number>('port'), host: '127.0.0.1' });

/** With a request that is answered when the app is told to. */
async function held(app: App) {
  const connection = await client(app);
  const answer = connection.request('/hold');
  await app.said('held');
  const release = async () => {
    await app.run(({ servers }) => servers.http?.release());
    expect((await answer).pid).toBe(app.pid);
    connection.close();
  };
  return { answer, connection, release };
}

/** Tells of each time, and closes the server as an app does. */
const closes = serving(({ servers, say }) => {
  process.on('SIGTERM', () => {
    say('heard');
    (servers.http as unknown as import('node:http').Server).close(() => process.exit(5));
  });
});

describe('a server the app has closed', () => {
  const closing = (options: object) =>
    boot(async (inside, options) => {
      await inside.open({ probation: { duration: 0 }, ...options });
      const { address } = await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
      inside.say('port', (address as { port: number }).port);
    }, options);
  const closeIt = (app: App) =>
    app.run(({ servers, say, handover }) => {
      const server = servers.http as unknown as import('node:http').Server;
      server.close(() => say('app closed'));
      return (handover as unknown as { connectionCount: number }).connectionCount;
    });

  it('G2: counts in the drain: its open request is answered', async () => {
    const { first } = await chain(closing({}));
    const { release } = await held(first);
    expect(await closeIt(first)).toBe(1);
    await first.run(({ handover }) => void handover.close());
    expect(first.allSaid('handover:drained')).toEqual([]);
    await release();
    await first.gone();
    expect(first.allSaid('app closed')).toHaveLength(1);
    expect(first.allSaid('handover:drained')).toMatchObject([{ moved: 0, ended: 1, cut: 0 }]);
  });

  it('counts in the cuts', async () => {
    const { first } = await chain(closing({ drain: { timeout: 200 } }));
    const { answer, connection } = await held(first);
    const lost = expect(answer).rejects.toThrow();
    await closeIt(first);
    await first.run(({ handover }) => void handover.close());
    await lost;
    connection.close();
    await first.gone();
    expect(first.allSaid('handover:drained')).toMatchObject([{ ended: 0, cut: 1 }]);
  });
});

describe('an app that destroys its sockets when it is told to end', () => {
  const destroys = serving(({ servers, say }) => {
    const sockets = new Set<import('node:net').Socket>();
    (servers.http as unknown as import('node:http').Server).on('connection', (socket) => {
      sockets.add(socket.on('close', () => sockets.delete(socket)));
    });
    process.on('SIGTERM', () => {
      say('heard', sockets.size);
      for (const socket of sockets) socket.destroy();
    });
  });

  it('G2, G3: is told when the requests under way are answered, and their connections have moved', async () => {
    const { chain: processes, first } = await chain(destroys);
    const { answer, connection } = await held(first);
    first.process.signal('SIGUSR2');
    await first.said('handover:superseded');
    expect(first.allSaid('heard')).toEqual([]);
    await first.run(({ servers }) => servers.http?.release());
    expect((await answer).pid).toBe(first.pid);
    expect(await first.said('heard')).toBe(0);
    const second = await processes.generation(2);
    expect((await connection.request('/')).pid).toBe(second.pid);
    connection.close();
    await first.process.gone();
    await second.close();
  });

  it('is told a second later where a request takes longer', async () => {
    const { chain: processes, first } = await chain(destroys);
    const { answer, connection } = await held(first);
    const lost = expect(answer).rejects.toThrow();
    first.process.signal('SIGUSR2');
    await lost;
    expect(await first.said('heard')).toBe(1);
    connection.close();
    await first.process.gone();
    await (await processes.generation(2)).close();
  });
});

describe('a server that the app closes while its successor loads', () => {
  /** Asks for its sockets when it is told to. */
  const late = boot(async (inside) => {
    await new Promise<void>((resolve) => {
      inside.kept.go = resolve;
      inside.say('loading');
    });
    const server = inside.create('http');
    inside.handover = await inside.lib.serve(server, {
      name: 'web',
      port: 0,
      host: '127.0.0.1',
      probation: { duration: 0 },
    });
  });
  const plain = serving(() => {});
  const close = (app: App) =>
    app.run(({ servers }) => void (servers.http as unknown as import('node:http').Server).close());

  it('G1: stays open for it: who connects meanwhile is answered by it', async () => {
    const { chain: processes, first } = await chain([plain, late]);
    const connection = await client(first);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.said('loading');
    await close(first);
    const answer = connection.request('/', undefined, true);
    await second.run(({ kept }) => (kept.go as () => void)());
    expect((await answer).pid).toBe(second.pid);
    expect(await processes.program.exit()).toEqual(EXIT_0);
    second.process.signal('SIGTERM');
    await second.gone();
  });

  it('is closed as the app wanted when the handover fails', async () => {
    const { chain: processes, first } = await chain([plain, late]);
    const connection = await client(first);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.said('loading');
    await close(first);
    second.process.signal('SIGKILL');
    await first.said('handover:failed');
    await expect(connection.request('/')).rejects.toThrow(/ECONNREFUSED/);
    // Nothing keeps it: it ends as any process of Node does.
    expect(await processes.program.exit()).toEqual(EXIT_0);
    await first.gone();
  });
});

describe("the app's listeners, when a successor is in charge", () => {
  it('run once, and SIGTERM while it drains ends nothing sooner; the hooks run, and the exit code is kept', async () => {
    const { chain: processes, first } = await chain([closes, serving(() => {})]);
    const { release } = await held(first);
    first.process.signal('SIGUSR2');
    await first.said('heard');
    first.process.signal('SIGTERM');
    await first.run(() => {});
    await release();
    expect(await processes.program.exit()).toEqual({ code: 5, signal: null });
    await first.gone();
    expect(first.allSaid('heard')).toHaveLength(1);
    expect(first.allSaid('hook')).toHaveLength(1);
    const second = await processes.generation(2);
    second.process.signal('SIGTERM');
    await second.gone();
  });

  it('G5: after a recall it serves on, whatever they have closed, and however often they ask for the end', async () => {
    const ends = serving(({ servers, say }) => {
      process.on('SIGTERM', () => {
        say('heard');
        (servers.http as unknown as import('node:http').Server).close(() => process.exit(0));
        setTimeout(() => {
          (process.exit as (code: number) => unknown)(1);
          say('impatient');
        }, 300);
      });
    });
    const { chain: processes, first } = await chain(ends);
    const { release } = await held(first);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await first.said('heard');
    second.process.signal('SIGKILL');
    await first.said('handover:app-recalled');
    await first.said('impatient');
    const connection = await client(first);
    expect((await connection.request('/', undefined, true)).pid).toBe(first.pid);
    await release();
    await second.gone();
    // Its next end is its own.
    first.process.signal('SIGTERM');
    expect(await processes.program.exit()).toEqual(EXIT_0);
    await first.gone();
    expect(first.allSaid('heard')).toHaveLength(2);
  });

  it('G2: one that throws or rejects costs no request', async () => {
    const fails = serving(() => {
      process.on('SIGTERM', () => {
        throw new Error('thrown');
      });
      process.on('SIGTERM', () => Promise.reject(new Error('rejected')));
    });
    const { chain: processes, first } = await chain([fails, serving(() => {})]);
    const { release } = await held(first);
    first.process.signal('SIGUSR2');
    await first.said('handover:hook-failed', 2);
    await release();
    expect(await processes.program.exit()).toMatchObject({ code: 0 });
    await first.gone();
    const messages = (first.allSaid('handover:hook-failed') as { error: { message: string } }[]).map(
      (one) => one.error.message,
    );
    expect(messages).toEqual(['thrown', 'rejected']);
    const second = await processes.generation(2);
    second.process.signal('SIGTERM');
    await second.gone();
  });

  it('what they have left running has drain.timeout, and is named then', async () => {
    const stays = serving(
      async ({ say }) => {
        const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
        subscribe('handover:stuck', (event) => say('stuck', event));
        setInterval(() => {}, 60_000);
        process.on('SIGTERM', () => say('heard'));
      },
      { drain: { timeout: 2_000 } },
    );
    const { chain: processes, first } = await chain([stays, serving(() => {})]);
    first.process.signal('SIGUSR2');
    await first.said('heard');
    const since = performance.now();
    expect(await first.said('stuck')).toMatchObject({ resources: expect.arrayContaining(['Timeout']) });
    expect(performance.now() - since).toBeGreaterThan(1_500);
    expect(await processes.program.exit()).toEqual(EXIT_0);
    const second = await processes.generation(2);
    second.process.signal('SIGTERM');
    await second.gone();
  });
});
