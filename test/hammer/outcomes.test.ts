// `handover hammer` against a server that misbehaves on command: each outcome is counted once, under its name.
import net from 'node:net';
import { describe, expect, test } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { BODY, head, listen, losses, type Ran, rawServer, runHammer, WHOLE } from './helpers.js';

expectNoLeaks();
const programs = usePrograms();

const REQUESTS = 12;
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n';

function inPieces(socket: net.Socket, bytes: string): void {
  const [first, ...rest] = bytes;
  if (first === undefined) return;
  socket.write(first, () => setImmediate(() => inPieces(socket, rest.join(''))));
}

const BEHAVIOURS: Record<string, (socket: net.Socket) => void> = {
  '/right': (socket) => socket.write(WHOLE),
  '/byte-by-byte': (socket) => inPieces(socket, WHOLE),
  '/chunked': (socket) => socket.write(`${CHUNKED}\r\n5;x=y\r\na rig\r\na\r\nht answer\n\r\n0\r\nTrailer: 1\r\n\r\n`),
  '/chunked-byte-by-byte': (socket) =>
    inPieces(socket, `${CHUNKED}\r\n5\r\na rig\r\nA\r\nht answer\n\r\n0\r\nTrailer: 1\r\n\r\n`),
  '/informed': (socket) =>
    socket.write(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${WHOLE}`),
  '/until-close': (socket) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${BODY}`),
  '/http-1.0': (socket) => socket.end(`HTTP/1.0 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`),
  '/no-content': (socket) => socket.write('HTTP/1.1 204 No Content\r\n\r\n'),
  '/not-modified': (socket) => socket.write('HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n'),
  '/head': (socket) => socket.write(head()),
  '/connection-close': (socket) => socket.end(head('Connection: close\r\n') + BODY),
  '/right-then-close': (socket) => socket.end(WHOLE),
  '/right-then-reset': (socket) => socket.write(WHOLE, () => setTimeout(() => socket.resetAndDestroy(), 50)),
  '/reset-after-reading': (socket) => socket.resetAndDestroy(),
  '/reset-in-body': (socket) =>
    socket.write(head() + BODY.slice(0, 4), () => setImmediate(() => socket.resetAndDestroy())),
  '/reset-in-body-until-close': (socket) =>
    socket.write(`HTTP/1.1 200 OK\r\n\r\n${BODY}`, () => setTimeout(() => socket.resetAndDestroy(), 50)),
  '/close-unanswered': (socket) => socket.end(),
  '/close-in-head': (socket) => socket.end(head().slice(0, 20)),
  '/close-in-body': (socket) => socket.end(head() + BODY.slice(0, 4)),
  '/close-in-chunk': (socket) => socket.end(`${CHUNKED}\r\n5\r\na ri`),
  '/close-before-last-chunk': (socket) => socket.end(`${CHUNKED}\r\nf\r\n${BODY}\r\n`),
  '/shorter-body': (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na ri'),
  '/longer-body': (socket) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length + 2}\r\n\r\n${BODY}ab`),
  '/other-body': (socket) => socket.write(head() + BODY.toUpperCase()),
  '/not-http': (socket) => socket.write('hello\r\n\r\n'),
  '/half-of-not-http': (socket) => socket.write('SSH-2.0-OpenSSH_9'),
  '/two-lengths': (socket) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab`),
  '/bad-chunk': (socket) => socket.write(`${CHUNKED}\r\nxyz\r\n`),
  '/chunk-too-long': (socket) => socket.write(`${CHUNKED}\r\n5\r\na right\r\n0\r\n\r\n`),
  '/wrong-status': (socket) => socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'),
  '/bare-408': (socket) => socket.end('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'),
  '/never': () => {},
  '/never-whole': (socket) => socket.write(head() + BODY.slice(0, 4)),
  '/answer-twice': (socket) => socket.write(WHOLE + WHOLE),
};

async function drive(path: string, mix: string, ...more: string[]): Promise<Ran> {
  const port = await listen(rawServer((socket, request) => BEHAVIOURS[request.path]?.(socket)));
  const url = `http://127.0.0.1:${port}${path}`;
  return await runHammer(
    programs,
    url,
    '--mix',
    mix,
    '--requests',
    String(REQUESTS),
    '--expect',
    `text:${BODY}`,
    ...more,
  );
}

describe('right answers', () => {
  test('one connection for each keep-alive client', async () => {
    const { code, result } = await drive('/right', 'keep-alive:3');
    expect(result.requests).toEqual({ ok: REQUESTS, lost: 0 });
    expect(losses(result)).toEqual({});
    expect(result.connections).toEqual({ opened: 3, closedByServer: 0 });
    expect(code).toBe(0);
  });

  test('a connection for each request of the others', async () => {
    const { result } = await drive('/right', 'new:3');
    expect(result).toMatchObject({
      requests: { ok: REQUESTS, lost: 0 },
      connections: { opened: REQUESTS, closedByServer: 0 },
    });
  });

  test.each(['pipelined:2', 'half-sent:3', 'idle:3'])('%s: each request is counted', async (mix) => {
    const { result } = await drive('/right', mix, '--idle', '50ms', '--half-pause', '20ms', '--depth', '3');
    expect(result).toMatchObject({ requests: { ok: REQUESTS, lost: 0 }, connections: { closedByServer: 0 } });
    expect(result.connections.opened).toBeLessThanOrEqual(3);
  });

  test.each([
    '/byte-by-byte',
    '/chunked',
    '/chunked-byte-by-byte',
    '/informed',
  ])('%s is a right answer', async (path) => {
    // Answers in pieces to several requests at once would mix in this server.
    for (const mix of path.endsWith('byte-by-byte') ? ['keep-alive:2'] : ['keep-alive:2', 'pipelined:2']) {
      const { result } = await drive(path, mix);
      expect(result).toMatchObject({
        requests: { ok: REQUESTS, lost: 0 },
        connections: { opened: 2, closedByServer: 0 },
      });
    }
  });

  test.each([
    ['/no-content', []],
    ['/not-modified', []],
    ['/head', ['--method', 'HEAD']],
  ])('%s has no body', async (path, more) => {
    const { result } = await drive(path, 'keep-alive:2', ...more, '--expect', 'length:0');
    expect(result).toMatchObject({ requests: { ok: REQUESTS, lost: 0 }, connections: { opened: 2 } });
  });

  test.each([
    '/until-close',
    '/http-1.0',
    '/connection-close',
  ])('%s: a right answer, and a connection closed by the server', async (path) => {
    const { result, details } = await drive(path, 'keep-alive:3');
    expect(result).toMatchObject({
      requests: { ok: REQUESTS, lost: 0 },
      connections: { opened: REQUESTS, closedByServer: REQUESTS },
    });
    expect(details).toMatchObject({ reconnectsForced: REQUESTS - 3 });
  });

  test('`Connection: close` to a client that asked for it is not the doing of the server', async () => {
    const { result } = await drive('/connection-close', 'new:1');
    expect(result).toMatchObject({ requests: { ok: REQUESTS, lost: 0 }, connections: { closedByServer: 0 } });
  });

  test.each(['/right-then-close', '/right-then-reset'])('%s: no loss, and a reconnect forced', async (path) => {
    const { result, details } = await drive(path, 'keep-alive:3', '--think', '300ms');
    expect(result).toMatchObject({ requests: { ok: REQUESTS, lost: 0 }, connections: { opened: REQUESTS } });
    expect(details).toMatchObject({ reconnectsForced: REQUESTS - 3 });
  });
});

describe('losses', () => {
  test.each([
    ['/reset-after-reading', 'resetAfterWrite'],
    ['/reset-in-body', 'resetAfterWrite'],
    ['/reset-in-body-until-close', 'resetAfterWrite'],
    ['/close-unanswered', 'earlyClose'],
    ['/close-in-head', 'earlyClose'],
    ['/close-in-body', 'short'],
    ['/close-in-chunk', 'short'],
    ['/close-before-last-chunk', 'short'],
    ['/bare-408', 'status'],
  ])('%s is %s, each time, and the connection is closed by the server', async (path, kind) => {
    for (const mix of ['keep-alive:3', 'new:3', 'half-sent:3']) {
      const { code, result } = await drive(path, mix, '--half-pause', '5ms');
      expect(losses(result)).toEqual({ [kind]: REQUESTS });
      expect(result).toMatchObject({ requests: { ok: 0, lost: REQUESTS }, connections: { opened: REQUESTS } });
      if (mix !== 'new:3') expect(result.connections.closedByServer).toBe(REQUESTS);
      expect(code).toBe(1);
    }
  });

  test.each([
    ['/shorter-body', 'short'],
    ['/longer-body', 'wrongBody'],
    ['/other-body', 'wrongBody'],
    ['/wrong-status', 'status'],
  ])('%s is %s, and a whole answer: the connection stays', async (path, kind) => {
    for (const mix of ['keep-alive:3', 'pipelined:3']) {
      const { result } = await drive(path, mix);
      expect(losses(result)).toEqual({ [kind]: REQUESTS });
      expect(result.requests).toEqual({ ok: 0, lost: REQUESTS });
      expect(result.connections.closedByServer).toBe(0);
      if (mix === 'keep-alive:3') expect(result.connections.opened).toBe(3);
    }
  });

  test.each([
    ['/not-http', 'wrongBody'],
    ['/half-of-not-http', 'wrongBody'],
    ['/two-lengths', 'wrongBody'],
    ['/bad-chunk', 'wrongBody'],
    ['/chunk-too-long', 'wrongBody'],
    ['/answer-twice', 'wrongBody'],
  ])('%s is %s, and the end of the connection', async (path, kind) => {
    const { result } = await drive(path, 'keep-alive:3');
    expect(losses(result)).toEqual({ [kind]: REQUESTS });
    expect(result).toMatchObject({ requests: { ok: 0, lost: REQUESTS }, connections: { opened: REQUESTS } });
  });

  test.each(['/never', '/never-whole'])('%s is unanswered at the deadline', async (path) => {
    const { result } = await drive(path, 'keep-alive:3', '--timeout', '150ms');
    expect(losses(result)).toEqual({ unanswered: REQUESTS });
    expect(result).toMatchObject({ requests: { ok: 0, lost: REQUESTS }, connections: { opened: REQUESTS } });
  });

  test('of four requests sent at once the first is answered, then closed: three are closed early', async () => {
    let count = 0;
    const server = rawServer((socket) => {
      if (count++ % 4 === 0) socket.end(WHOLE);
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(programs, url, '--mix', 'pipelined:1', '--requests', '12');
    expect(result.requests).toEqual({ ok: 3, lost: 9 });
    expect(losses(result)).toEqual({ earlyClose: 9 });
    expect(result.connections).toEqual({ opened: 3, closedByServer: 3 });
  });

  test('a port nobody listens on refuses every request', async () => {
    const server = net.createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve).once('close', resolve));
    server.listen(0, '127.0.0.1');
    const { code, result } = await runHammer(
      programs,
      `http://127.0.0.1:${port}/`,
      '--mix',
      'keep-alive:2,new:1',
      '--requests',
      '9',
    );
    expect(losses(result)).toEqual({ refused: 9 });
    expect(result).toMatchObject({ requests: { ok: 0, lost: 9 }, connections: { opened: 0, closedByServer: 0 } });
    expect(code).toBe(1);
  });

  test('a reset in the middle of a request comes before it was written', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.resetAndDestroy());
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(
      programs,
      url,
      '--mix',
      'half-sent:3',
      '--half-pause',
      '300ms',
      '--requests',
      '9',
    );
    expect(losses(result)).toEqual({ resetBeforeWrite: 9 });
    expect(result.connections).toEqual({ opened: 9, closedByServer: 9 });
  });

  test('an answer in the middle of a request: the rest of it is not sent as the next one', async () => {
    const received: string[] = [];
    const server = net.createServer((socket) => {
      socket
        .on('error', () => {})
        .once('data', () => {
          socket.write('HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n');
          socket.on('data', (rest) => received.push(rest.toString()));
        });
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const more = ['--mix', 'half-sent:2', '--half-pause', '150ms', '--requests', '6'];
    const { result } = await runHammer(programs, url, ...more);
    expect(losses(result)).toEqual({ status: 6 });
    expect(result.connections).toEqual({ opened: 6, closedByServer: 0 });
    expect(received).toEqual([]);
  });

  test('a reset on accept is a reset, before or after the write', async () => {
    const server = net.createServer((socket) => socket.on('error', () => {}).resetAndDestroy());
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(programs, url, '--mix', 'keep-alive:3', '--requests', '12');
    const { resetBeforeWrite, resetAfterWrite } = result.lostBy;
    expect(resetBeforeWrite + resetAfterWrite).toBe(12);
    expect(result.requests).toEqual({ ok: 0, lost: 12 });
  });

  test('an answer between two requests is a loss of its own', async () => {
    const server = rawServer((socket) => {
      socket.write(WHOLE, () => setTimeout(() => socket.write('HTTP/1.1 408 Request Timeout\r\n\r\n'), 50));
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result, details } = await runHammer(
      programs,
      url,
      '--connections',
      '1',
      '--think',
      '1s',
      '--duration',
      '700ms',
    );
    expect(result.requests).toEqual({ ok: 1, lost: 1 });
    expect(losses(result)).toEqual({ wrongBody: 1 });
    expect(details).toMatchObject({ unasked: 1 });
  });

  test('a mixture is counted apart', async () => {
    const ways = ['/right', '/reset-after-reading', '/close-in-head', '/close-in-body', '/wrong-status', '/other-body'];
    let count = 0;
    const server = rawServer((socket) => BEHAVIOURS[ways[count++ % ways.length] ?? '']?.(socket));
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(
      programs,
      url,
      '--connections',
      '4',
      '--requests',
      '60',
      '--expect',
      `text:${BODY}`,
    );
    expect(result.requests).toEqual({ ok: 10, lost: 50 });
    expect(losses(result)).toEqual({ resetAfterWrite: 10, earlyClose: 10, short: 10, status: 10, wrongBody: 10 });
  });
});
