// G2, G3: HTTP servers of which the app sees each connection before Node's HTTP does, as behind a balancer that begins it
// with a PROXY line; and those that only count and keep sockets.
import { describe, expect, it } from 'vitest';
import { type App, type Boot, boot, type Chain, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Drained, portOf, replace } from './generations.js';
import { Wire } from './wire.js';

expectNoLeaks();
const { chain } = useApps();

/** How the app comes before Node's HTTP. */
type Way = 'instead' | 'before' | 'emit' | 'subclass' | 'none';
type Opt = 'saves' | 'fails' | undefined;

/**
 * Takes the PROXY line off each connection and answers with the address it announced. `opt`: it saves and restores that, or
 * fails to restore.
 */
function proxied(way: Way, opt?: Opt, handover: object = {}): Boot {
  return boot(
    async (inside, way, opt, handover) => {
      type Connection = import('node:net').Socket & { announced?: string };
      const http = process.getBuiltinModule('node:http');
      const takeLine = (socket: Connection, goOn: () => void): void => {
        const onReadable = (): void => {
          const bytes = socket.read() as Buffer | null;
          if (bytes === null) return;
          socket.off('readable', onReadable);
          const end = bytes.indexOf('\r\n');
          const line = bytes.toString('latin1', 0, Math.max(end, 0));
          inside.say('line', line);
          if (!line.startsWith('PROXY ')) return void socket.destroy();
          const [, , announced = ''] = line.split(' ');
          socket.announced = announced;
          socket.unshift(bytes.subarray(end + 2));
          goOn();
        };
        socket.on('readable', onReadable).on('error', () => {});
      };
      class Reading extends http.Server {
        override emit(event: string, ...args: unknown[]): boolean {
          const goOn = (): boolean => super.emit(event, ...args);
          if (way !== 'subclass' || event !== 'connection') return goOn();
          takeLine(args[0] as Connection, goOn);
          return true;
        }
      }
      const server = way === 'subclass' ? new Reading() : http.createServer();
      if (way === 'instead' || way === 'before') {
        const nodes = server.listeners('connection');
        server.removeAllListeners('connection');
        server.on('connection', (socket) =>
          takeLine(socket, () => {
            for (const listener of nodes) listener.call(server, socket);
          }),
        );
        // Something else may come first.
        if (way === 'before') server.prependListener('connection', () => inside.say('first'));
      }
      if (way === 'emit') {
        const { emit } = server;
        server.emit = (event: string, ...args: unknown[]) => {
          const goOn = (): boolean => Reflect.apply(emit, server, [event, ...args]) as boolean;
          if (event !== 'connection') return goOn();
          takeLine(args[0] as Connection, goOn);
          return true;
        };
      }
      server.keepAliveTimeout = 60_000;
      server.on('request', (request, response) => {
        const body = String((request.socket as Connection).announced);
        response.writeHead(200, { 'x-pid': process.pid, 'content-length': body.length }).end(body);
      });
      const migrate = {
        save: (socket: Connection) => socket.announced,
        restore: (socket: Connection, announced: unknown) => {
          inside.say('restored', announced);
          if (opt === 'fails') throw new Error('cannot restore');
          socket.announced = announced as string;
        },
        stay: (socket: Connection) => inside.say('stays', socket.announced),
      };
      await inside.open({ probation: { duration: 0 }, drain: { timeout: 5_000 }, ...handover });
      const where = { name: 'web', port: 0, host: '127.0.0.1', ...(opt && { migrate }) };
      inside.say('listening', await inside.handover.listen(server, where));
      await inside.handover.ready();
    },
    way,
    opt,
    handover,
  );
}

const ANNOUNCED = '192.0.2.7';
const LINE = `PROXY TCP4 ${ANNOUNCED} 192.0.2.1 4000 80\r\n`;

/** A kept connection that has been answered once. */
async function kept(app: App, line = LINE): Promise<Wire> {
  const client = await new Wire(await portOf(app)).connected();
  expect(await client.send(line).ask('/first')).toMatchObject({ pid: app.pid });
  return client;
}

async function expectAnswer(client: Wire, pid: number, body: string, keepsAlive: boolean): Promise<void> {
  const answer = await client.ask('/again');
  expect([answer.pid, answer.body.toString(), answer.head.includes('Connection: close')]).toEqual([
    pid,
    body,
    !keepsAlive,
  ]);
}

const gone = async (first: App, processes: Chain): Promise<App> => {
  await first.gone();
  return processes.generation(2);
};

describe('a server whose connections the app sees first', () => {
  it.each<Way>([
    'instead',
    'before',
    'emit',
    'subclass',
  ])('G2: %s: a kept connection stays, and its next request is answered', async (way) => {
    const { chain: processes, first } = await chain(proxied(way));
    const client = await kept(first);
    await first.upgrade();
    await expectAnswer(client, first.pid, ANNOUNCED, false);
    client.close();
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 0, cut: 0 });
    const second = await gone(first, processes);
    (await kept(second)).close();
    expect(second.allSaid('line')).toEqual([LINE.trimEnd()]);
    await second.close();
  });

  it('G2: only in the new release: it refuses what it would take for a new connection', async () => {
    const { chain: processes, first } = await chain([proxied('none'), proxied('instead')]);
    const client = await kept(first, '');
    await first.upgrade();
    await expectAnswer(client, first.pid, 'undefined', false);
    client.close();
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 0, cut: 0 });
    await (await gone(first, processes)).close();
  });

  it('G3: with save and restore it moves, through three handovers, spoken on or not', async () => {
    const { chain: processes, first } = await chain(proxied('instead', 'saves'));
    const clients = [await kept(first), await kept(first)];
    const [speaking, silent] = clients as [Wire, Wire];
    let app = first;
    for (let number = 2; number <= 4; number++) {
      const { app: next, drained } = await replace(processes, app, number);
      expect(drained).toMatchObject({ moved: 2, cut: 0 });
      app = next;
      await expectAnswer(speaking, app.pid, ANNOUNCED, true);
    }
    await expectAnswer(silent, app.pid, ANNOUNCED, true);
    expect(app.allSaid('line')).toEqual([]);
    expect(app.allSaid('restored')).toEqual([ANNOUNCED, ANNOUNCED]);
    for (const client of clients) client.close();
    await app.close();
  });

  it('G2: of which nothing can be saved, because its line has not come: it stays', async () => {
    const { chain: processes, first } = await chain(proxied('instead', 'saves'));
    const client = await new Wire(await portOf(first)).connected();
    // Behind it in the queue: accepted after it.
    (await kept(first)).close();
    await first.upgrade();
    expect(await client.send(LINE).ask('/')).toMatchObject({ pid: first.pid, body: Buffer.from(ANNOUNCED) });
    client.close();
    await (await gone(first, processes)).close();
  });

  it.each([
    ['the old release', proxied('instead'), proxied('instead', 'saves')],
    ['the new release', proxied('instead', 'saves'), proxied('instead')],
  ])('G2: without save and restore in %s it stays', async (_, before, after) => {
    const { chain: processes, first } = await chain([before, after]);
    const client = await kept(first);
    await first.upgrade();
    await expectAnswer(client, first.pid, ANNOUNCED, false);
    client.close();
    await (await gone(first, processes)).close();
  });

  it('a restore that throws ends the connection, and that is published', async () => {
    const { chain: processes, first } = await chain([proxied('instead', 'saves'), proxied('instead', 'fails')]);
    const client = await kept(first);
    const { app } = await replace(processes, first, 2);
    client.get('/again');
    expect(await client.ended()).toBe('closed');
    expect(await app.said('handover:hook-failed')).toMatchObject({ name: 'migrate.restore' });
    await app.close();
  });

  it('G5: a successor that dies holding it: the app is told that it stays, and it goes on here', async () => {
    const dies = boot(async (inside) => {
      // Killed with the offer read, and not answered.
      process.getBuiltinModule('node:diagnostics_channel').subscribe('handover:frame', (message) => {
        const { direction, name } = message as { direction: string; name: string };
        if (direction === 'received' && name === 'OFFER') process.kill(process.pid, 'SIGKILL');
      });
      const server = process.getBuiltinModule('node:http').createServer();
      await inside.open();
      const migrate = { save: () => undefined, restore: () => {} };
      await inside.handover.listen(server, { name: 'web', port: 0, host: '127.0.0.1', migrate });
      await inside.handover.ready();
    });
    const { first } = await chain([proxied('instead', 'saves'), dies]);
    const client = await kept(first);
    await first.upgrade();
    expect(await first.said('stays')).toBe(ANNOUNCED);
    await expectAnswer(client, first.pid, ANNOUNCED, true);
    client.close();
    await first.close();
  });
});

describe('a server whose app hears of connections after Node', () => {
  it("G3: they move; each 'connection' listener hears of one once, when it speaks, and 'close' where it left", async () => {
    const { chain: processes, first } = await chain(
      boot(async (inside) => {
        const http = process.getBuiltinModule('node:http');
        const server = http.createServer((_, response) => {
          response.writeHead(200, { 'x-pid': process.pid, 'content-length': 0 }).end();
        });
        server.keepAliveTimeout = 60_000;
        // As stoppable, http-terminator and terminus do.
        const sockets = new Set<object>();
        for (const name of ['one', 'two']) server.on('connection', () => inside.say(name));
        server.on('connection', (socket) => {
          sockets.add(socket);
          socket.on('close', () => {
            sockets.delete(socket);
            inside.say('left', sockets.size);
          });
        });
        inside.kept.sockets = sockets;
        await inside.open({ probation: { duration: 0 }, drain: { timeout: 5_000 } });
        inside.say('listening', await inside.handover.listen(server, { name: 'web', port: 0, host: '127.0.0.1' }));
        await inside.handover.ready();
      }),
    );
    const client = await kept(first, '');
    const { app, drained } = await replace(processes, first, 2);
    expect(drained).toMatchObject({ moved: 1 });
    expect(first.allSaid('left')).toEqual([0]);
    expect(app.allSaid('one')).toEqual([]);
    for (let request = 0; request < 2; request++) expect(await client.ask('/')).toMatchObject({ pid: app.pid });
    expect([app.allSaid('one').length, app.allSaid('two').length]).toEqual([1, 1]);
    expect(await app.run(({ kept }) => (kept.sockets as Set<object>).size)).toBe(1);
    client.close();
    await app.said('left');
    await app.close();
  });
});
