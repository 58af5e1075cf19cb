// G1, G2: a handover under load, for every kind of server and every kind of address. Not one request fails.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { boot, type Kind, useApps } from './apps.js';
import {
  Datagrams,
  Http2Connection,
  HttpConnection,
  LineConnection,
  Load,
  loadOf,
  selfSigned,
  type Target,
} from './clients.js';

expectNoLeaks();
const { chain } = useApps();

const server = (kind: Kind, address: object, migrate = true) =>
  boot(
    async (inside, kind, address, migrate, tls) => {
      await inside.open({ drain: { timeout: 10_000 }, probation: { duration: 100 }, migrate });
      const listening = await inside.listen(kind, address, tls);
      await inside.handover.ready();
      inside.say('listening', listening);
    },
    kind,
    address,
    migrate,
    kind === 'https' || kind === 'h2' ? selfSigned() : {},
  );

interface Listening {
  readonly address: { readonly port: number; readonly address: string };
  readonly origin: string;
}

const KINDS: readonly Kind[] = ['http', 'https', 'h2c', 'h2', 'net'];

describe.each(KINDS)('%s', (kind) => {
  it('G1, G2: two handovers under load: every request gets its whole, right answer', async () => {
    const { chain: processes, first } = await chain(server(kind, { port: 0, host: '127.0.0.1' }));
    const { address } = await first.said<Listening>('listening');
    const { load, close } = loadOf(kind, { port: address.port, host: '127.0.0.1' });
    await load.answered(first.pid, 20);

    let app = first;
    for (const generation of [2, 3]) {
      const outcome = await app.upgrade();
      await load.answered(outcome.pid, 20);
      // Every connection came to its end by itself, so the predecessor has, long before its drainTimeout.
      await app.gone();
      app = await processes.generation(generation);
      expect(await app.said<Listening>('listening')).toMatchObject({ origin: 'inherited', address });
    }
    await load.stop();
    close();
    expect(load.failures).toEqual([]);
    expect(load.answers.size).toBe(3);
    await app.close();
  });
});

describe('G2: a request in flight at the switch is answered by the process that has it', () => {
  const straddles = async (
    kind: Kind,
    ask: (target: Target) => {
      readonly opened: number;
      request(path: string): Promise<{ pid: number }>;
      close(): void;
    },
    {
      migrate = true,
      path = '/hold',
      goodbye,
    }: { migrate?: boolean; path?: string; goodbye: 'none' | 'with it' | 'with the next' },
  ) => {
    const { chain: processes, first } = await chain(server(kind, { port: 0, host: '127.0.0.1' }, migrate));
    const { address } = await first.said<Listening>('listening');
    const client = ask({ port: address.port, host: '127.0.0.1' });
    const held = client.request(path);
    await first.said('held');
    const outcome = await first.upgrade();
    await first.run(({ servers }, kind) => servers[kind]?.release(), kind);
    expect((await held).pid).toBe(first.pid);
    if (goodbye === 'none') {
      // Idle with that answer, it moves.
      let answeredBy = first.pid;
      while (answeredBy === first.pid) answeredBy = (await client.request('/')).pid;
      expect(answeredBy).toBe(outcome.pid);
      expect(client.opened).toBe(1);
    } else {
      if (goodbye === 'with the next') expect((await client.request('/')).pid).toBe(first.pid);
      // Either way this connection was ended politely, and the next is the successor's.
      expect(client.opened).toBe(1);
      expect((await client.request('/')).pid).toBe(outcome.pid);
      expect(client.opened).toBe(2);
    }
    client.close();
    await first.gone();
    await (await processes.generation(2)).close();
  };

  it('http', () => straddles('http', (target) => new HttpConnection(target), { goodbye: 'none' }));

  // These do not move: `Connection: close` of HTTP/1 goes with the first head that has not gone, GOAWAY of HTTP/2 at once.
  const staying: readonly [string, Kind, boolean, boolean][] = [
    ['http, migrate: false', 'http', false, false],
    ['https', 'https', true, true],
  ];
  describe.each(staying)('%s', (_, kind, migrate, secure) => {
    const ask = (target: Target) => new HttpConnection(target, secure);
    it('its head has not gone: it says goodbye', () => straddles(kind, ask, { migrate, goodbye: 'with it' }));
    it('its head has gone: the next one says goodbye', () =>
      straddles(kind, ask, { migrate, path: '/begun', goodbye: 'with the next' }));
  });
  it('h2c', () => straddles('h2c', (target) => new Http2Connection(target, false), { goodbye: 'with it' }));
  it('h2', () => straddles('h2', (target) => new Http2Connection(target, true), { goodbye: 'with it' }));
});

it('G2: a raw connection stays with its process until the client ends it', async () => {
  const { chain: processes, first } = await chain(server('net', { port: 0, host: '127.0.0.1' }));
  const { address } = await first.said<Listening>('listening');
  const target = { port: address.port, host: '127.0.0.1' };
  const old = new LineConnection(target);
  expect((await old.echo('before')).pid).toBe(first.pid);
  const { pid } = await first.upgrade();
  expect((await old.echo('after')).pid).toBe(first.pid);
  const young = new LineConnection(target);
  expect((await young.echo('new')).pid).toBe(pid);
  await old.close();
  await first.gone();
  await young.close();
  await (await processes.generation(2)).close();
});

describe('G1, G2 at every kind of address', () => {
  const under = async (kind: Kind, listen: object, target: (port: number) => Target) => {
    const { chain: processes, first } = await chain(server(kind, listen));
    const { address } = await first.said<Listening>('listening');
    const { load, close } = loadOf(kind, target(address.port));
    await load.answered(first.pid, 10);
    const { pid } = await first.upgrade();
    await load.answered(pid, 10);
    await first.gone();
    await load.stop();
    close();
    expect(load.failures).toEqual([]);
    const second = await processes.generation(2);
    expect(await second.said<Listening>('listening')).toEqual({
      ...(await first.said<Listening>('listening')),
      origin: 'inherited',
    });
    return second;
  };

  it('IPv6', async () => {
    const second = await under('http', { port: 0, host: '::1', ipv6Only: true }, (port) => ({ port, host: '::1' }));
    await second.close();
  });

  it('every address, of both families', async () => {
    const second = await under('http', { port: 0 }, (port) => ({ port, host: '127.0.0.1' }));
    const { address } = await second.said<Listening>('listening');
    const client = new HttpConnection({ port: address.port, host: '::1' });
    expect((await client.request('/')).pid).toBe(second.pid);
    client.close();
    await second.close();
  });

  it('a host name', async () => {
    await (await under('http', { port: 0, host: 'localhost' }, (port) => ({ port, host: 'localhost' }))).close();
  });

  it('a Unix path: the same file after the handover, removed at the end by the last generation', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'web.sock');
    const { chain: processes, first } = await chain(server('http', { path }));
    const { ino } = statSync(path);
    const { load, close } = loadOf('http', { path });
    await load.answered(first.pid, 10);
    const { pid } = await first.upgrade();
    await first.gone();
    await load.answered(pid, 10);
    expect(statSync(path).ino).toBe(ino);
    await load.stop();
    close();
    expect(load.failures).toEqual([]);
    await (await processes.generation(2)).close();
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  it.runIf(process.platform === 'linux')('an abstract name', async () => {
    // As long as a name can be: Node 20 connects to a shorter one padded with NULs, which is another name.
    const abstract = `handover-test-${process.pid}-`.padEnd(107, 'x');
    await (await under('http', { abstract }, () => ({ path: `\0${abstract}` }))).close();
  });
});

describe.each([
  ['udp4', '127.0.0.1'],
  ['udp6', '::1'],
] as const)('%s', (kind, host) => {
  it('G1, G2: every datagram is answered by one of the two, none is lost on the switch', async () => {
    const { chain: processes, first } = await chain(server(kind, { port: 0, host }));
    const { address } = await first.said<Listening>('listening');
    const load = new Load();
    const clients = [1, 2, 3].map(() => new Datagrams(kind, address.port, host));
    for (const client of clients) load.loop(() => client.ask());
    await load.answered(first.pid, 50);
    const { pid } = await first.upgrade();
    await load.answered(pid, 50);
    await first.gone();
    await load.stop();
    for (const client of clients) client.close();
    expect(load.failures).toEqual([]);
    const second = await processes.generation(2);
    expect(await second.said<Listening>('listening')).toMatchObject({ origin: 'inherited', address });
    await second.close();
  });
});
