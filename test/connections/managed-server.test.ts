// Servers under the handover: they stop and start again, drain and end, and the app hears only what it should.
import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { bindListener, closeFd, dupFd, sealedBlob } from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import { ManagedServer } from '../../lib/protocols/managed-server.js';
import { onLinux, own, temporaryFolder } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { Client, manage } from './sandbox.js';

expectNoLeaks();

/** Answers with the path; `/held` waits in the list until somebody ends it. */
function echo(held: http.ServerResponse[] = []): http.Server {
  return http.createServer((request, response) => {
    if (request.url?.startsWith('/held')) held.push(response);
    else response.end(`got ${request.url};`);
  });
}

async function turns(count = 10): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

describe('suspend and resume', () => {
  test('G1: what connects meanwhile waits in the queue and is served after resume', async () => {
    const { managed, port, where } = await manage(echo());
    managed.suspend();
    const client = await new Client(port).ask('/queued').connected();
    await turns();
    expect([client.text, managed.connectionCount]).toEqual(['', 0]);
    await managed.resume(where);
    await client.gets('got /queued;');
  });

  test('G3: connections stay, idle ones too, and go on being answered', async () => {
    const { managed, port } = await manage(echo());
    const client = await new Client(port).ask('/1').gets('got /1;');
    managed.suspend();
    await turns();
    await client.ask('/2').gets('got /2;');
    expect([client.ended, managed.connectionCount]).toEqual([false, 1]);
  });

  test('the app hears no close and no second listening; listening and address() answer as before', async () => {
    const server = echo();
    const { managed, port, where, heard } = await manage(server);
    const address = server.address();
    expect(address).toMatchObject({ port });
    for (let round = 0; round < 3; round++) {
      managed.suspend();
      await turns();
      expect([server.listening, server.address()]).toEqual([true, address]);
      await managed.resume(where);
      await turns();
      expect([server.listening, server.address()]).toEqual([true, address]);
    }
    expect(heard).toEqual(['listening']);
    expect(['listening', 'address', 'emit'].filter((key) => Object.hasOwn(server, key))).toEqual([]);
  });

  test('the last connection of a suspended server leaves: the app hears nothing', async () => {
    const { managed, port, where, heard } = await manage(net.createServer());
    const client = await new Client(port).connected();
    await until(() => managed.connectionCount === 1, { what: 'the connection' });
    managed.suspend();
    client.socket.destroy();
    await until(() => managed.connectionCount === 0, { what: 'its end' });
    await turns();
    await managed.resume(where);
    expect(heard).toEqual(['listening']);
  });

  test('resumed in the same turn it was suspended in: nothing is heard either', async () => {
    const { managed, port, where, heard } = await manage(echo());
    managed.suspend();
    await managed.resume(where);
    await turns();
    expect(heard).toEqual(['listening']);
    await new Client(port).ask('/1').gets('got /1;');
  });

  test('a resume that cannot listen rejects with the error, which the app does not need to handle', async () => {
    const { managed, where } = await manage(echo());
    managed.suspend();
    const fd = sealedBlob('no socket', Buffer.from('x'));
    await expect(managed.resume(() => ({ fd }))).rejects.toMatchObject({ code: 'EINVAL' });
    // Node leaves open what it refuses (FACTS N3).
    closeFd(fd);
    await managed.accept(where());
  });

  test.runIf(onLinux)('the backlog is the one that was asked for', async () => {
    const path = join(temporaryFolder(), 'x.sock');
    const fd = own(bindListener({ path }));
    const managed = new ManagedServer(net.createServer(), 'web', 3, () => {});
    await managed.accept({ fd: dupFd(fd) });
    managed.suspend();
    const { AF_UNIX, SOCK_STREAM } = native().constants;
    let queued = 0;
    for (let result = 0; result === 0 && queued < 20; ) {
      const client = own(native().socket(AF_UNIX, SOCK_STREAM, 0));
      native().setNonblocking(client, true);
      result = native().connectUnix(client, Buffer.from(path));
      if (result === 0) queued++;
    }
    // The kernel admits one more than it is told.
    expect(queued).toBe(4);
    managed.finish();
  });

  test('an own emit, as an APM sets it, sees every other event, and is put back', async () => {
    const server = echo();
    const { managed, where, port } = await manage(server);
    const seen: string[] = [];
    const inherited = server.emit;
    const apm = function (this: http.Server, event: string, ...args: unknown[]): boolean {
      seen.push(event);
      return Reflect.apply(inherited, this, [event, ...args]) as boolean;
    } as typeof server.emit;
    server.emit = apm;
    const client = await new Client(port).ask('/1').gets('got /1;');
    managed.suspend();
    await client.ask('/2').gets('got /2;');
    await managed.resume(where);
    expect(server.emit).toBe(apm);
    expect(seen.filter((event) => event === 'request')).toHaveLength(2);
    expect(seen).not.toContain('close');
  });

  test('an own emit set while suspended by the app stands until resume', async () => {
    const server = echo();
    const { managed, where } = await manage(server);
    managed.suspend();
    expect(server.emit('custom')).toBe(false);
    server.on('custom', () => {});
    expect(server.emit('custom')).toBe(true);
    await managed.resume(where);
  });
});

describe('the end', () => {
  test('finish: the app hears the close that was withheld, once', async () => {
    const { managed, heard } = await manage(echo());
    managed.suspend();
    await turns();
    expect(heard).toEqual(['listening']);
    managed.finish();
    expect(heard).toEqual(['listening', 'close']);
  });

  test('finish before the last connection has gone: the close comes with its end', async () => {
    const { managed, port, heard } = await manage(net.createServer());
    const client = await new Client(port).connected();
    await until(() => managed.connectionCount === 1, { what: 'the connection' });
    managed.suspend();
    managed.finish();
    await turns();
    expect(heard).toEqual(['listening']);
    client.socket.destroy();
    await until(() => heard.includes('close'), { what: "'close'" });
    expect(heard).toEqual(['listening', 'close']);
  });

  test('cut ends what is left and says how many that were', async () => {
    const { managed, port } = await manage(net.createServer());
    const clients = await Promise.all([new Client(port).connected(), new Client(port).connected()]);
    await until(() => managed.connectionCount === 2, { what: 'two connections' });
    expect(managed.cut()).toBe(2);
    await Promise.all(clients.map(({ socket }) => socket.closed || once(socket, 'close')));
    await until(() => managed.connectionCount === 0, { what: 'none' });
    expect(managed.cut()).toBe(0);
  });
});

describe("the app's own server.close()", () => {
  test('while it accepts: as ever, and the handover is told', async () => {
    const server = echo();
    const { heard } = await manage(server);
    await new Promise<void>((resolve) => server.close(() => resolve()));
    expect(heard).toEqual(['listening', 'closed by the app', 'close']);
  });

  test('while suspended: the callback comes once the last connection has ended, idle ones are ended', async () => {
    const server = echo();
    const { managed, port } = await manage(server);
    const idle = await new Client(port).ask('/1').gets('got /1;');
    managed.suspend();
    await turns();
    await new Promise<void>((resolve) => expect(server.close(() => resolve())).toBe(server));
    await idle.atEnd();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  test('while suspended, and then finished: the callback is not lost', async () => {
    const server = net.createServer();
    const { managed, port } = await manage(server);
    const client = await new Client(port).connected();
    await until(() => managed.connectionCount === 1, { what: 'the connection' });
    managed.suspend();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    managed.finish();
    client.socket.destroy();
    await closed;
  });

  test('while suspended, then recalled: it is closed and stays so, the app hears it, the handover too', async () => {
    const server = echo();
    const { managed, where, heard } = await manage(server);
    managed.suspend();
    await turns();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await managed.resume(where);
    await closed;
    await turns();
    expect(server.listening).toBe(false);
    expect(heard).toEqual(['listening', 'closed by the app', 'close']);
  });
});

describe('drain', () => {
  test('G2: the response in flight is whole, and ends the connection: its head had not gone', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const client = new Client(port).ask('/held');
    await until(() => held.length === 1, { what: 'the request' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    held[0]?.end('at last');
    await client.atEnd();
    expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*Connection: close\r\n[\s\S]*at last$/);
    await drained;
  });

  test('G2: of a response in flight whose head has gone nothing is taken back, and the one after it ends the connection', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const client = new Client(port).ask('/held');
    await until(() => held.length === 1, { what: 'the request' });
    held[0]?.flushHeaders();
    await client.gets('\r\n\r\n');
    managed.suspend();
    const drained = managed.drain({ moves: false });
    held[0]?.end('at last');
    await client.gets('at last');
    await client.ask('/2').atEnd();
    expect(client.text.match(/Connection: [\w-]+|at last|got \/2/g)).toEqual([
      'Connection: keep-alive',
      'at last',
      'Connection: close',
      'got /2',
    ]);
    await drained;
  });

  test('G2: of those pipelined when it began the last one ends the connection, if its head has not gone', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const client = new Client(port).ask('/held/1').ask('/held/2').ask('/held/3');
    await until(() => held.length === 3, { what: 'the requests' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    for (const [i, response] of held.entries()) {
      response.end(`answer ${i + 1};`);
      await client.gets(`answer ${i + 1};`);
    }
    await client.atEnd();
    expect(client.text.match(/answer \d;|Connection: [\w-]+/g)).toEqual([
      'Connection: keep-alive',
      'answer 1;',
      'Connection: keep-alive',
      'answer 2;',
      'Connection: close',
      'answer 3;',
    ]);
    await drained;
  });

  test('G2: one that could move and has not is told before the hard stop, idle or not', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const busy = new Client(port).ask('/held');
    const idle = await new Client(port).ask('/1').gets('got /1;');
    await until(() => held.length === 1, { what: 'the request' });
    managed.suspend();
    const drained = managed.drain({ moves: true, timeout: 2_000 });
    await idle.atEnd();
    held[0]?.end('at last');
    await busy.atEnd();
    expect(busy.text).toMatch(/Connection: close\r\n[\s\S]*at last$/);
    await drained;
    expect(managed.wasCut).toEqual([]);
  });

  test('a connection that is idle gets its next response, which says so', async () => {
    const { managed, port } = await manage(echo());
    const client = await new Client(port).ask('/1').gets('got /1;');
    expect(client.text).toContain('Connection: keep-alive');
    managed.suspend();
    const drained = managed.drain({ moves: false });
    await turns();
    expect(client.ended).toBe(false);
    await client.ask('/2').atEnd();
    expect(client.text).toMatch(/Connection: close\r\n[\s\S]*got \/2;/);
    await drained;
  });

  test('one that would have moved is left alone, until it is to stay: then its next response says so', async () => {
    const { managed, port } = await manage(echo());
    managed.stay();
    const client = await new Client(port).ask('/1').gets('got /1;');
    managed.suspend();
    const drained = managed.drain({ moves: true });
    await client.ask('/2').gets('got /2;');
    expect(client.text).not.toContain('Connection: close');
    managed.stay();
    await client.ask('/3').atEnd();
    expect(client.text).toMatch(/Connection: close\r\n[\s\S]*got \/3;/);
    await drained;
  });

  test('G2: requests that were pipelined when it began are all answered, the next one ends the connection', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const client = new Client(port).ask('/held/1').ask('/held/2').ask('/held/3');
    await until(() => held.length > 0, { what: 'the first request' });
    managed.suspend();
    const drained = managed.drain({ moves: false });
    for (let answered = 0; answered < 3; answered++) {
      const response = await until(() => held[answered], { what: `request ${answered + 1}` });
      response.end(`answer ${answered + 1};`);
    }
    await client.gets('answer 3;');
    await client.ask('/4').atEnd();
    expect(client.text.match(/answer \d;/g)).toEqual(['answer 1;', 'answer 2;', 'answer 3;']);
    expect(client.text.match(/Connection: [\w-]+/g)?.at(-1)).toBe('Connection: close');
    await drained;
  });

  test('G2: a request that comes behind a marked one takes the mark over', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const client = new Client(port).ask('/held/1');
    await until(() => held.length === 1, { what: 'the first request' });
    managed.suspend();
    void managed.drain({ moves: false });
    client.ask('/held/2');
    await until(() => held.length === 2, { what: 'the second request' });
    held[0]?.end('answer 1;');
    held[1]?.end('answer 2;');
    await client.atEnd();
    expect(client.text.match(/answer \d;|Connection: [\w-]+/g)).toEqual([
      'Connection: keep-alive',
      'answer 1;',
      'Connection: close',
      'answer 2;',
    ]);
  });

  test('a response whose headers are out is left as it is', async () => {
    const held: http.ServerResponse[] = [];
    const { managed, port } = await manage(echo(held));
    const client = new Client(port).ask('/held');
    const response = await until(() => held[0], { what: 'the request' });
    response.write('first,');
    await client.gets('first,');
    managed.suspend();
    void managed.drain({ moves: false });
    response.end('last');
    await client.gets('last');
    await client.ask('/2').atEnd();
    expect(client.text).toContain('got /2;');
  });

  test('resume undoes it: the next response keeps the connection alive', async () => {
    const { managed, port, where } = await manage(echo());
    const client = await new Client(port).ask('/1').gets('got /1;');
    managed.suspend();
    void managed.drain({ moves: false });
    await managed.resume(where);
    await client.ask('/2').gets('got /2;');
    await client.ask('/3').gets('got /3;');
    expect(client.text.match(/Connection: [\w-]+/g)).toEqual(Array(3).fill('Connection: keep-alive'));
  });

  test('without connections it is done at once', async () => {
    const { managed } = await manage(echo());
    managed.suspend();
    await managed.drain({ moves: false });
  });

  test('an Expect: 100-continue that the app handles itself is marked too', async () => {
    const server = echo();
    server.on('checkContinue', (_request, response: http.ServerResponse) => response.end('no need'));
    const { managed, port } = await manage(server);
    const client = await new Client(port).ask('/1').gets('got /1;');
    managed.suspend();
    void managed.drain({ moves: false });
    await client.ask('/2', 'Expect: 100-continue\r\n').atEnd();
    expect(client.text).toMatch(/Connection: close\r\n[\s\S]*no need/);
  });
});
