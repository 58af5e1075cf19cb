// `node --import handover/auto`: what a program sees of it is what it sees of Node, and it hands over.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { boot, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { AUTO, fixture, preload, replace, terminate } from './preloaded.js';

expectNoLeaks();
const apps = useApps();
const EXIT_0 = { code: 0, signal: null };
/** Asks once, on a connection of its own. */
async function pidAt(target: { port: number } | { path: string }): Promise<number> {
  const connection = new HttpConnection('port' in target ? { ...target, host: '127.0.0.1' } : target);
  const { pid } = await connection.request('/', undefined, true);
  connection.close();
  return pid;
}

describe('listen()', () => {
  it('is done when it returns, and says so a tick later, also to who asks then', async () => {
    const path = join(temporaryFolder(), 'app.sock');
    const { chain, first } = await preload(
      apps,
      boot((inside, path) => {
        for (const [name, where] of [
          ['tcp', [0]],
          ['host', [0, '127.0.0.1', 9]],
          ['unix', [path]],
        ] as const) {
          const server = process.getBuiltinModule('node:http').createServer();
          const events: string[] = [];
          server.listen(...(where as [number]), () => events.push('callback'));
          const { listening } = server;
          const address = server.address();
          server.on('listening', () => events.push('listening'));
          setImmediate(() => inside.say(name, { listening, address, events, later: server.address() }));
        }
      }, path),
    );
    let app = first;
    let address: unknown;
    for (const generation of [2, 3]) {
      const tcp = await app.said<{ address: AddressInfo }>('tcp');
      expect(tcp).toEqual({
        listening: true,
        address: { address: '::', family: 'IPv6', port: expect.any(Number) },
        events: ['callback', 'listening'],
        later: tcp.address,
      });
      expect(tcp.address).toEqual(address ?? tcp.address);
      address = tcp.address;
      expect(await app.said('host')).toMatchObject({ listening: true, events: ['callback', 'listening'] });
      expect(await app.said('unix')).toMatchObject({ listening: true, address: path, later: path });
      app = await replace(chain, app, generation);
    }
    expect(await pidAtUnix(path)).toBe(true);
    await terminate(app);
  });

  it('may be called late, and one server after the other has said that it listens', async () => {
    const { chain, first } = await preload(
      apps,
      boot(async (inside) => {
        const { once } = process.getBuiltinModule('node:events');
        const { setTimeout: pause } = process.getBuiltinModule('node:timers/promises');
        const ports: number[] = [];
        for (let i = 0; i < 3; i++) {
          await pause(200);
          const server = inside.create('http').listen(0, 'localhost');
          await once(server, 'listening');
          ports.push((server.address() as { port: number }).port);
        }
        inside.say('ports', ports);
      }),
    );
    const ports = await first.said<number[]>('ports');
    const second = await replace(chain, first, 2);
    // In the order of the calls: they all asked for port 0.
    expect(await second.said('ports')).toEqual(ports);
    expect(await Promise.all(ports.map((port) => pidAt({ port })))).toEqual(ports.map(() => second.pid));
    expect(second.allSaid('handover:in-charge')).toMatchObject([{ unclaimed: [] }]);
    await terminate(second);
  });

  it.each([
    'fail',
    'close',
  ])('waits claimTimeout after the last call for what nobody claims, then: %s', async (unclaimed) => {
    const ports = [freePort(), freePort()];
    const listening = (count: number) =>
      boot((inside, ports) => void ports.map((port) => inside.create('http').listen(port)), ports.slice(0, count));
    const { chain, first } = await preload(apps, [listening(2), listening(1)], { claimTimeout: 300, unclaimed });
    await first.said('handover:in-charge');
    if (unclaimed === 'fail') {
      first.process.signal('SIGUSR2');
      expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_UNCLAIMED', stillServing: true });
      await (await chain.generation(2)).gone();
      expect(await pidAt({ port: ports[1] as number })).toBe(first.pid);
      await terminate(first);
      return;
    }
    const second = await replace(chain, first, 2);
    expect(await second.said('handover:in-charge')).toMatchObject({ unclaimed: [`tcp://*:${ports[1]}`] });
    expect(await pidAt({ port: ports[0] as number })).toBe(second.pid);
    await expect(pidAt({ port: ports[1] as number })).rejects.toThrow(/ECONNREFUSED/);
    await terminate(second);
  });

  it('fails by an error event as Node has it, and may be tried again', async () => {
    const blocker = net.createServer().listen(0, '127.0.0.1');
    await once(blocker, 'listening');
    onTestFinished(() => void blocker.close());
    const { port } = blocker.address() as AddressInfo;
    const { first } = await preload(
      apps,
      boot(async (inside, port) => {
        const { once } = process.getBuiltinModule('node:events');
        const server = inside.create('http');
        let called = 0;
        server.listen(port, '127.0.0.1', () => called++);
        const [error] = (await once(server, 'error')) as [NodeJS.ErrnoException];
        const { code, syscall, address, message } = error as NodeJS.ErrnoException & { address: string };
        inside.say('error', { code, syscall, address, message });
        server.listen(0, '127.0.0.1', () => inside.say('port', (server.address() as { port: number }).port));
        inside.say('called', called);
      }, port),
    );
    expect(await first.said('error')).toEqual({
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: '127.0.0.1',
      message: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
    });
    expect(await pidAt({ port: await first.said<number>('port') })).toBe(first.pid);
    expect(first.allSaid('called')).toEqual([0]);
    await terminate(first);
  });

  it('throws what Node throws, and an error nobody listens for is an uncaught exception', async () => {
    const port = freePort();
    const { chain, first } = await preload(
      apps,
      boot((inside, port) => {
        const server = inside.create('http');
        const codeOf = (call: () => unknown): unknown => {
          try {
            return call();
          } catch (error) {
            return (error as NodeJS.ErrnoException).code;
          }
        };
        const codes = [codeOf(() => server.listen(70_000)), codeOf(() => server.listen(port).listening)];
        inside.say('codes', [...codes, codeOf(() => server.listen(port))]);
        process.on('uncaughtExceptionMonitor', (error, origin) => inside.say('uncaught', [error.message, origin]));
        setImmediate(() => inside.create('net').listen(port));
      }, port),
    );
    expect(await first.said('codes')).toEqual(['ERR_SOCKET_BAD_PORT', true, 'ERR_SERVER_ALREADY_LISTEN']);
    expect(await first.said('uncaught')).toEqual([
      `listen EADDRINUSE: address already in use :::${port}`,
      'uncaughtException',
    ]);
    expect((await chain.program.exit()).code).toBe(1);
    await first.gone();
  });

  it('G5: what the predecessor did not hand over is in use; it serves on', async () => {
    const port = freePort();
    // An address with a signal is Node's own business.
    const listening = (withSignal: boolean) =>
      boot(
        (inside, port, withSignal) => {
          const { signal } = new AbortController();
          inside.create('net').listen(0);
          inside.create('http').listen({ port, host: '127.0.0.1', ...(withSignal && { signal }) });
        },
        port,
        withSignal,
      );
    const { chain, first } = await preload(apps, [listening(true), listening(false)]);
    await first.said('handover:in-charge');
    first.process.signal('SIGUSR2');
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    expect(chain.program.stderr).toMatch(/listen EADDRINUSE.*let the predecessor open it/s);
    expect(await pidAt({ port })).toBe(first.pid);
    await terminate(first);
  });

  it('may be called again after close(), also by a successor: some apps try a port before they use it', async () => {
    const port = freePort();
    const { chain, first } = await preload(
      apps,
      boot(async (inside, port) => {
        const { once } = process.getBuiltinModule('node:events');
        const server = inside.create('http').listen(port);
        await once(server, 'listening');
        server.close();
        await once(server, 'close');
        server.listen(port);
        inside.say('names');
      }, port),
    );
    await first.said('names');
    expect(await pidAt({ port })).toBe(first.pid);
    const second = await replace(chain, first, 2);
    expect(await pidAt({ port })).toBe(second.pid);
    await terminate(second);
  });
});

describe('bind()', () => {
  it('says that it listens after it has returned; what has no port of its own is left alone', async () => {
    const port = freePort();
    const { chain, first } = await preload(
      apps,
      boot(async (inside, port) => {
        const dgram = process.getBuiltinModule('node:dgram');
        const { once } = process.getBuiltinModule('node:events');
        const socket = dgram.createSocket('udp4');
        socket.bind(port);
        const { port: bound } = socket.address();
        await once(socket, 'listening');
        const answerer = dgram.createSocket('udp4');
        answerer.bind(0, '127.0.0.1');
        await once(answerer, 'listening');
        const sender = dgram.createSocket('udp4');
        sender.send('hello', answerer.address().port, '127.0.0.1');
        const [message] = (await once(answerer, 'message')) as [Buffer];
        const shared = dgram.createSocket({ type: 'udp4', reuseAddr: true });
        shared.bind(port + 1, '127.0.0.1');
        await once(shared, 'listening');
        let code: unknown;
        try {
          socket.bind(port);
        } catch (error) {
          ({ code } = error as NodeJS.ErrnoException);
        }
        for (const each of [answerer, sender, shared]) each.close();
        inside.say('bound', { port: bound, message: message.toString(), code });
      }, port),
    );
    expect(await first.said('bound')).toEqual({ port, message: 'hello', code: 'ERR_SOCKET_ALREADY_BOUND' });
    expect(first.allSaid('handover:listen')).toMatchObject([{ address: `udp://0.0.0.0:${port}` }]);
    const second = await replace(chain, first, 2);
    expect(await second.said('bound')).toMatchObject({ port, message: 'hello' });
    await terminate(second);
  });
});

describe('signals', () => {
  it('SIGTERM: what has begun is finished, then the process exits 0 whatever keeps it', async () => {
    const { chain, first } = await preload(
      apps,
      boot((inside) => {
        const server = inside.create('http').listen(0, '127.0.0.1');
        setInterval(() => {}, 1_000);
        inside.kept.server = server;
        inside.say('port', (server.address() as { port: number }).port);
      }),
    );
    const client = new HttpConnection({ port: await first.said<number>('port'), host: '127.0.0.1' });
    const held = client.request('/hold');
    await first.said('held');
    first.process.signal('SIGTERM');
    await first.run(async ({ kept, servers }) => {
      const server = kept.server as import('node:http').Server;
      while ((server as unknown as { _handle: unknown })._handle) await new Promise(setImmediate);
      servers.http?.release();
    });
    expect((await held).pid).toBe(first.pid);
    client.close();
    expect(await chain.program.exit()).toEqual(EXIT_0);
    await first.gone();
  });

  it('a second SIGTERM ends it at once', async () => {
    const { chain, first } = await preload(
      apps,
      boot((inside) => {
        const server = inside.create('http').listen(0, '127.0.0.1');
        inside.say('port', (server.address() as { port: number }).port);
      }),
    );
    const client = new HttpConnection({ port: await first.said<number>('port'), host: '127.0.0.1' });
    const held = client.request('/hold');
    held.catch(() => {});
    await first.said('held');
    await first.run(({ kept }) => {
      process.on('SIGTERM', () => {
        kept.told = true;
      });
    });
    first.process.signal('SIGTERM');
    await first.run(async ({ kept }) => {
      while (!kept.told) await new Promise(setImmediate);
    });
    first.process.signal('SIGTERM');
    expect(await chain.program.exit()).toEqual({ code: 143, signal: null });
    await expect(held).rejects.toThrow();
    client.close();
    await first.gone();
  });

  it('others by HANDOVER_AUTO', async () => {
    const options = { signals: { upgrade: 'SIGHUP', shutdown: ['SIGQUIT'] } };
    const { chain, first } = await preload(
      apps,
      boot((inside) => void inside.create('http').listen(0)),
      options,
    );
    await first.said('handover:in-charge');
    first.process.signal('SIGHUP');
    const second = await chain.generation(2);
    await second.said('handover:in-charge');
    await first.gone();
    second.process.signal('SIGQUIT');
    await second.gone();
  });
});

describe('HANDOVER_AUTO', () => {
  it.each([
    ['no JSON', '{', /HANDOVER_AUTO/],
    ['no object', '7', /HANDOVER_AUTO/],
    ['an address', '{"port":80}', /HANDOVER_AUTO.*claimTimeout.*port/s],
    ['a bad value', '{"drain":{"timeout":-1}}', /options\.drain\.timeout/],
    ['a bad claimTimeout', '{"claimTimeout":"soon"}', /HANDOVER_AUTO\.claimTimeout/],
  ])('%s: the program does not start', async (_, value, message) => {
    const program = apps.start(new URL('fixtures/ends.mjs', import.meta.url), {
      execArgv: ['--import', AUTO],
      env: { HANDOVER_AUTO: value },
    });
    expect((await program.exit()).code).toBe(1);
    await program.closed;
    expect(program.stderr).toMatch(message);
    expect(program.stdout).toBe('');
  });

  it('in the old spelling: the program starts, and is warned once for each', async () => {
    const program = apps.start(fixtureUrl('ends.mjs'), {
      execArgv: ['--import', AUTO],
      env: { HANDOVER_AUTO: '{"drainTimeout":9000,"drain":{"idleTimeout":100},"probation":0}' },
    });
    expect(await program.exit()).toEqual(EXIT_0);
    await program.closed;
    expect(
      program.stderr.match(/\[HANDOVER_DEPRECATED\] DeprecationWarning: handover: .* is spelled \S+ now/g),
    ).toEqual([
      expect.stringContaining('drainTimeout is spelled drain.timeout now'),
      expect.stringContaining('probation as a number is spelled probation.duration now'),
    ]);
  });

  it('a program that does not listen ends as it would', async () => {
    const program = apps.start(fixtureUrl('ends.mjs'), { execArgv: ['--import', AUTO] });
    await program.line(/^ends$/);
    expect(await program.exit()).toEqual(EXIT_0);
  });

  it('is found by its name', async () => {
    const program = apps.start(fixtureUrl('ends.mjs'), {
      execArgv: ['--import', 'handover/auto'],
      cwd: fixture('..'),
    });
    expect(await program.exit()).toEqual(EXIT_0);
  });
});

describe('without the addon', () => {
  it('the program listens as it always did, ends politely, and a handover is refused', async () => {
    const { chain, first } = await preload(
      apps,
      boot((inside) => {
        const server = inside.create('http');
        server.listen(0, '127.0.0.1', () => inside.say('port', (server.address() as { port: number }).port));
      }),
      { log: true },
      { env: { HANDOVER_PREBUILD: temporaryFolder() } },
    );
    const port = await first.said<number>('port');
    first.process.signal('SIGUSR2');
    const client = new HttpConnection({ port, host: '127.0.0.1' });
    const held = client.request('/hold');
    await first.said('held');
    first.process.signal('SIGTERM');
    await first.run(async ({ servers }) => {
      const server = servers.http as unknown as { _handle: unknown };
      while (server._handle) await new Promise(setImmediate);
      servers.http?.release();
    });
    expect((await held).pid).toBe(first.pid);
    client.close();
    expect(await chain.program.exit()).toEqual(EXIT_0);
    await first.gone();
  });
});

const fixtureUrl = (name: string): URL => new URL(`fixtures/${name}`, import.meta.url);

/** Whether someone accepts there. */
async function pidAtUnix(path: string): Promise<boolean> {
  const socket = net.connect(path);
  return new Promise((resolve) => {
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}
