// G2, G3: live HTTP/1.1 connections move from process to process; every byte of every answer is looked at.
import { describe, expect, it } from 'vitest';
import { type App, type Chain, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import {
  answeredBy,
  BIG,
  BIG_BYTES,
  type Drained,
  generation,
  idle,
  portOf,
  release,
  replace,
  type Setting,
} from './generations.js';
import { Wire } from './wire.js';

expectNoLeaks();
const { chain } = useApps();

const all = (count: number, pid: number): number[] => Array(count).fill(pid);

/** A first process; `successor` differs where it is given. */
async function start(
  setting: Setting = {},
  successor = setting,
): Promise<{ processes: Chain; first: App; port: number }> {
  const { chain: processes, first } = await chain([generation(setting), generation(successor)]);
  return { processes, first, port: await portOf(first) };
}

/** After the switch: what was busy has come to its end, and the connection is the successor's without a request more. */
async function expectMoves(processes: Chain, first: App, clients: readonly Wire[]): Promise<void> {
  expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: clients.length, cut: 0 });
  await first.gone();
  const second = await processes.generation(2);
  expect(await answeredBy(clients)).toEqual(all(clients.length, second.pid));
  for (const client of clients) client.close();
  await second.close();
}

describe('G3: idle connections', () => {
  it.each([1, 50, 300])('%i move at once, also ones that never sent a byte', async (count) => {
    const { processes, first } = await start();
    const clients = await idle(first, count);
    await first.upgrade();
    await expectMoves(processes, first, clients);
  });

  it('ten handovers in a row on the same 50 connections: used each time, now and then, or never', async () => {
    const { processes, first } = await start({ server: { keepAliveTimeout: 60_000 } });
    const clients = await idle(first, 50);
    let app = first;
    for (let number = 2; number <= 11; number++) {
      const { app: next, drained } = await replace(processes, app, number);
      expect(drained).toMatchObject({ moved: 50, cut: 0 });
      app = next;
      // A fifth speaks in every generation, a fifth in every other one, the rest not before the end.
      const speaking = clients.filter((_, i) => i % 5 === 0 || (i % 5 === 1 && number % 2 === 0));
      expect(await answeredBy(speaking)).toEqual(all(speaking.length, app.pid));
    }
    expect(await answeredBy(clients)).toEqual(all(50, app.pid));
    for (const client of clients) client.close();
    await app.close();
  });
});

describe('G2, G3: busy connections move after their response', () => {
  it('a request that waits', async () => {
    const { processes, first, port } = await start();
    const client = new Wire(port).get('/hold');
    await first.said('held');
    await first.upgrade();
    await release(first);
    expect(await client.response()).toMatchObject({ pid: first.pid, body: Buffer.from('held /hold') });
    await expectMoves(processes, first, [client]);
  });

  it.each([
    [2, 'before'],
    [4, 'after'],
  ])('%i pipelined requests of which all but one came %s the switch', async (count, when) => {
    const { processes, first, port } = await start();
    const client = new Wire(port).get('/hold/1');
    await first.said('held');
    const others = async (): Promise<void> => {
      for (let i = 2; i <= count; i++) client.get(`/hold/${i}`);
      await first.said('held', count);
    };
    if (when === 'before') await others();
    await first.upgrade();
    if (when === 'after') await others();
    for (let i = 1; i <= count; i++) {
      await release(first, 1);
      expect((await client.response()).body.toString()).toBe(`held /hold/${i}`);
    }
    await expectMoves(processes, first, [client]);
  });

  it('pipelined requests answered all at once: none is served twice, none lost', async () => {
    const { processes, first, port } = await start();
    const client = new Wire(port).get('/hold/1').get('/hold/2').get('/3').get('/4');
    await first.said('held', 2);
    await first.upgrade();
    await release(first);
    const bodies: string[] = [];
    for (let i = 0; i < 4; i++) bodies.push((await client.response()).body.toString());
    expect(bodies).toEqual(['held /hold/1', 'held /hold/2', 'GET /3 ', 'GET /4 ']);
    await expectMoves(processes, first, [client]);
  });

  it.each([1, 17, 36])('a next request of which %i bytes have been read', async (bytes) => {
    const { processes, first, port } = await start();
    const request = 'GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const client = await new Wire(port).connected();
    await client.ask('/first');
    const before = await first.run(({ kept }) => (kept.web as { requestCount?: number }).requestCount ?? 0);
    expect(before).toBe(0);
    client.send(request.slice(0, bytes));
    // Another connection's answer is behind it in the process.
    await first.run(async () => new Promise((resolve) => setTimeout(resolve, 50)));
    await first.upgrade();
    client.send(request.slice(bytes));
    expect(await client.response()).toMatchObject({ pid: first.pid, body: Buffer.from('GET /second ') });
    await expectMoves(processes, first, [client]);
  });

  it('a body in progress', async () => {
    const { processes, first, port } = await start();
    const client = new Wire(port).send('POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234');
    await first.said('body');
    await first.upgrade();
    client.send('56789');
    expect(await client.response()).toMatchObject({ pid: first.pid, body: Buffer.from('POST /body 0123456789') });
    await expectMoves(processes, first, [client]);
  });

  it('a chunked body in progress, cut within a chunk', async () => {
    const { processes, first, port } = await start();
    const client = new Wire(port).send('POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123');
    await first.said('body');
    await first.upgrade();
    for (const byte of '456789\r\n3\r\nabc\r\n0\r\n\r\n') client.send(byte);
    expect((await client.response()).body.toString()).toBe('POST /body 0123456789abc');
    await expectMoves(processes, first, [client]);
  });

  it('a response that came before the body had: it moves when the rest of the body has come', async () => {
    const { processes, first, port } = await start();
    const client = new Wire(port).send('POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234');
    expect((await client.response()).body.toString()).toBe('too early');
    await first.upgrade();
    client.send('56789');
    await expectMoves(processes, first, [client]);
  });

  it('the same, response and rest of the body after the switch', async () => {
    const { processes, first, port } = await start();
    const client = new Wire(port).send('POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234');
    await first.said('held');
    await first.upgrade();
    await release(first);
    expect((await client.response()).body.toString()).toBe('held /hold');
    client.send('56789');
    await expectMoves(processes, first, [client]);
  });

  it('a response of 20 MB to a slow reader', async () => {
    const { processes, first, port } = await start();
    const client = await new Wire(port).connected();
    client.socket.pause();
    client.get('/big');
    await first.run(
      ({ kept }) =>
        new Promise<void>((resolve) => {
          // Until the response fills the kernel's buffers and waits in the process.
          const look = (): void => {
            const { _connections } = kept.web as { _connections: number };
            const waits = process.getActiveResourcesInfo().includes('TCPSocketWrap');
            if (_connections === 1 && waits) resolve();
            else setImmediate(look);
          };
          look();
        }),
    );
    await first.upgrade();
    client.socket.resume();
    const { body, pid } = await client.response();
    expect([pid, body.length, body.equals(BIG)]).toEqual([first.pid, BIG_BYTES, true]);
    await expectMoves(processes, first, [client]);
  });

  it('leading CRLF: an empty line between two requests is no request', async () => {
    const { processes, first, port } = await start();
    const clients = [new Wire(port), new Wire(port)];
    for (const client of clients) await client.ask('/first');
    clients[0]?.send('\r\n');
    await first.upgrade();
    clients[1]?.send('\r\n');
    await expectMoves(processes, first, clients);
  });
});

describe('Expect: 100-continue', () => {
  const head = 'POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n';

  it.each([
    ['as Node answers it', false],
    ['as the app answers it', true],
  ])('%s: body after the switch', async (_, checksContinue) => {
    const { processes, first, port } = await start({ checksContinue });
    const client = new Wire(port).send(head);
    expect(await client.head()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    await first.upgrade();
    client.send('01234');
    expect(await client.response()).toMatchObject({ pid: first.pid, body: Buffer.from('POST /body 01234') });
    await expectMoves(processes, first, [client]);
  });

  it.each([
    ['as Node answers it', false],
    ['as the app answers it', true],
  ])('%s: on a connection that has moved', async (_, checksContinue) => {
    const { processes, first } = await start({ checksContinue });
    const [client] = (await idle(first, 1)) as [Wire];
    const { app: second } = await replace(processes, first, 2);
    client.send(head);
    expect(await client.head()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.send('01234');
    expect(await client.response()).toMatchObject({ pid: second.pid, body: Buffer.from('POST /body 01234') });
    client.close();
    await second.close();
  });
});

it('HTTP/1.0 with keep-alive moves, too', async () => {
  const { processes, first, port } = await start();
  const client = new Wire(port);
  const ask = (path: string) => client.send(`GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`).response();
  expect((await ask('/first')).pid).toBe(first.pid);
  const { app: second, drained } = await replace(processes, first, 2);
  expect(drained).toMatchObject({ moved: 1, cut: 0 });
  const { pid, head } = await ask('/second');
  expect([pid, head.includes('Connection: keep-alive'), client.end]).toEqual([second.pid, true, undefined]);
  client.close();
  await second.close();
});

describe('what ends as ever, and what stays', () => {
  it.each([
    ['HTTP/1.0', 'GET /hold HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 OK\r\n/],
    ['Connection: close', 'GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', /\r\nConnection: close\r\n/],
  ])('%s: one response, then the end', async (_, request, answer) => {
    const { processes, first, port } = await start();
    const client = new Wire(port).send(request);
    await first.said('held');
    await first.upgrade();
    await release(first);
    const text = await client.head();
    expect(text).toMatch(answer);
    expect(text).toContain(`x-pid: ${first.pid}`);
    expect(await client.take('held /hold'.length)).toBe('held /hold');
    expect([await client.ended(), client.pending]).toEqual(['closed', 0]);
    client.close();
    await first.gone();
    await (await processes.generation(2)).close();
  });

  it('Connection: close of the app', async () => {
    const { processes, first } = await start();
    const [client] = (await idle(first, 1)) as [Wire];
    const { app: second } = await replace(processes, first, 2);
    expect(await client.ask('/close')).toMatchObject({ pid: second.pid });
    expect(await client.ended()).toBe('closed');
    client.close();
    await second.close();
  });

  it.each([
    ['an upgrade', 'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'],
    ['a CONNECT', 'CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('%s stays with its process until it ends', async (_, request) => {
    const { processes, first, port } = await start();
    const client = new Wire(port).send(request);
    expect(await client.head()).toContain(`X-Pid: ${first.pid}`);
    await first.upgrade();
    const echo = `${first.pid} hello`;
    expect(await client.send('hello').take(echo.length)).toBe(echo);
    client.socket.end();
    expect(await client.ended()).toBe('closed');
    client.close();
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 0, cut: 0 });
    await first.gone();
    await (await processes.generation(2)).close();
  });

  it.each([
    ['an upgrade', 'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'],
    ['a CONNECT', 'CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('%s on a connection that has moved, with bytes behind it', async (_, request) => {
    const { processes, first } = await start();
    const [client] = (await idle(first, 1)) as [Wire];
    const { app: second } = await replace(processes, first, 2);
    client.send(`${request}hello`);
    expect(await client.head()).toContain(`X-Pid: ${second.pid}`);
    const echo = `${second.pid} hello`;
    expect(await client.take(echo.length)).toBe(echo);
    client.close();
    await second.close();
  });
});

describe("the successor's timeouts and counts", () => {
  it('its keep-alive timeout ends a connection that moved and is not used', async () => {
    const { processes, first } = await start(
      { server: { keepAliveTimeout: 60_000 } },
      { server: { keepAliveTimeout: 300 } },
    );
    const [client] = (await idle(first, 1)) as [Wire];
    const { app: second } = await replace(processes, first, 2);
    expect([await client.ended(), client.pending]).toEqual(['closed', 0]);
    client.close();
    await second.close();
  });

  it('its keep-alive timeout has the same buffer as for connections that it accepted', async () => {
    const { processes, first } = await start(
      { server: { keepAliveTimeout: 60_000 } },
      { server: { keepAliveTimeout: 200, keepAliveTimeoutBuffer: 60_000 } },
    );
    const [client] = (await idle(first, 1)) as [Wire];
    const { app: second } = await replace(processes, first, 2);
    await second.run(() => new Promise((resolve) => setTimeout(resolve, 600)));
    expect(await answeredBy([client])).toEqual([second.pid]);
    client.close();
    await second.close();
  });

  it('the keep-alive timeout of one that had been used applies after a second move, too', async () => {
    const { chain: processes, first } = await chain([
      generation({ server: { keepAliveTimeout: 60_000 } }),
      generation({ server: { keepAliveTimeout: 60_000 } }),
      generation({ server: { keepAliveTimeout: 300 } }),
    ]);
    const [client] = (await idle(first, 1)) as [Wire];
    const { app: second } = await replace(processes, first, 2);
    const { app: third } = await replace(processes, second, 3);
    expect([await client.ended(), client.pending]).toEqual(['closed', 0]);
    client.close();
    await third.close();
  });

  it('an idle connection used again after the header timeout gets its 200, no 408', async () => {
    const server = {
      headersTimeout: 400,
      requestTimeout: 400,
      connectionsCheckingInterval: 50,
      keepAliveTimeout: 60_000,
    };
    const { processes, first } = await start({ server: { keepAliveTimeout: 60_000 } }, { server });
    const clients = (await idle(first, 4)).filter((_, i) => i % 2 === 0);
    const { app: second } = await replace(processes, first, 2);
    // Twice the header timeout, by the clock of the process whose timeout it is.
    await second.run(() => new Promise((resolve) => setTimeout(resolve, 800)));
    expect(await answeredBy(clients)).toEqual(all(2, second.pid));
    for (const client of clients) client.close();
    await second.close();
  });

  it('getConnections counts those that moved, used and unused, and server.close(cb) waits for them', async () => {
    const { processes, first } = await start({ server: { keepAliveTimeout: 60_000 } });
    const clients = await idle(first, 6);
    const { app: second } = await replace(processes, first, 2);
    const count = (): Promise<number> =>
      second.run(
        ({ kept }) =>
          new Promise<number>((resolve) =>
            (kept.web as import('node:http').Server).getConnections((_, count) => resolve(count)),
          ),
      );
    expect(await count()).toBe(6);
    for (const client of clients.slice(0, 3)) client.get('/hold');
    await second.said('held', 3);
    expect(await count()).toBe(6);
    clients[5]?.close();
    clients[0]?.close();
    await second.run(async ({ kept, say }) => {
      const web = kept.web as import('node:http').Server;
      const count = (): Promise<number> => new Promise((resolve) => web.getConnections((_, count) => resolve(count)));
      while ((await count()) !== 4) await new Promise((resolve) => setImmediate(resolve));
      web.close(() => say('closed'));
    });
    await release(second);
    for (const client of clients.slice(1, 3)) expect((await client.response()).pid).toBe(second.pid);
    expect(second.allSaid('closed')).toEqual([]);
    for (const client of clients) client.close();
    await second.said('closed');
    // Nothing listens any more, and nothing else keeps it.
    await second.gone();
  });
});

describe('migrate: false', () => {
  it.each([
    ['of the predecessor', { migrate: false }, {}],
    ['of the successor, which then has no capability to move', {}, { migrate: false }],
  ] as const)('%s: nothing moves, the next response ends the connection', async (_, before, after) => {
    const { processes, first } = await start({ handover: before }, { handover: after });
    const clients = await idle(first, 3);
    await first.upgrade();
    for (const client of clients) {
      const { pid, head } = await client.ask('/last');
      expect([pid, head.includes('Connection: close')]).toEqual([first.pid, true]);
      expect(await client.ended()).toBe('closed');
      client.close();
    }
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 0, cut: 0 });
    await first.gone();
    await (await processes.generation(2)).close();
  });
});
