// `handover hammer` as a whole: which requests it makes, at which pace, and its ledger.
import { execFile } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { COMMAND, helloServer, listen, losses, rawServer, runForPeople, runHammer, WHOLE } from './helpers.js';

expectNoLeaks();
const programs = usePrograms();

describe('the load', () => {
  test('a mix of all kinds on several threads, every request counted', async () => {
    let served = 0;
    const server = createServer((_, response) => {
      served++;
      response.end('hello\n');
    });
    const url = `http://localhost:${await listen(server)}/some?thing=1`;
    const mix = 'keep-alive:3,new:2,idle:2,pipelined:2,half-sent:2';
    const { code, result } = await runHammer(
      programs,
      url,
      '--mix',
      mix,
      '--threads',
      '3',
      '--requests',
      '500',
      '--idle',
      '50ms',
    );
    expect(result.requests).toEqual({ ok: 500, lost: 0 });
    expect(served).toBe(500);
    expect(result.connections.closedByServer).toBe(0);
    expect(code).toBe(0);
  });

  test('the last line is the result, with these keys in this order', async () => {
    const { result } = await runHammer(programs, await helloServer(), '--requests', '20', '--connections', '2');
    expect(Object.keys(result)).toEqual(['requests', 'lostBy', 'connections', 'latencyMs', 'longestGapMs', 'switches']);
    expect(Object.entries(result.lostBy)).toEqual([
      ['refused', 0],
      ['resetBeforeWrite', 0],
      ['resetAfterWrite', 0],
      ['earlyClose', 0],
      ['short', 0],
      ['wrongBody', 0],
      ['unanswered', 0],
      ['status', 0],
    ]);
    expect(Object.keys(result.latencyMs)).toEqual(['p50', 'p99', 'max']);
  });

  test('method, headers and body reach the server, to the byte', async () => {
    const seen = new Set<string>();
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (piece: string) => {
        body += piece;
      });
      request.on('end', () => {
        seen.add(`${request.method} ${request.url} ${request.headers['x-a']} ${request.headers['x-b']} ${body}`);
        response.end();
      });
    });
    const url = `http://127.0.0.1:${await listen(server)}/p`;
    const more = [
      '--method',
      'post',
      '--header',
      'x-a: 1',
      '--header',
      'X-B: ü',
      '--body',
      'grüße',
      '--requests',
      '20',
    ];
    const { result } = await runHammer(programs, url, ...more, '--mix', 'keep-alive,new,pipelined,half-sent');
    expect(result.requests).toEqual({ ok: 20, lost: 0 });
    expect([...seen]).toEqual([`POST /p 1 ${Buffer.from('ü').toString('latin1')} grüße`]);
  });

  test('a header of the user stands instead of the own one of that name', async () => {
    const seen = new Set<string>();
    const server = rawServer((socket, { text }) => {
      const [, ...fields] = text.split('\r\n');
      seen.add(
        fields
          .map((field) => field.toLowerCase())
          .sort()
          .join(', '),
      );
      socket.write(WHOLE);
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const more = [
      '--header',
      'host: example.org',
      '--header',
      'Connection: close',
      '--header',
      'content-length: 0',
      '--body',
      '',
    ];
    const { result } = await runHammer(
      programs,
      url,
      ...more,
      '--mix',
      'keep-alive:2,new:2,half-sent:1',
      '--requests',
      '12',
    );
    expect([...seen]).toEqual(['connection: close, content-length: 0, host: example.org']);
    expect(result).toMatchObject({ requests: { ok: 12, lost: 0 }, connections: { opened: 12, closedByServer: 0 } });
  });

  test('an open loop counts from when each request should have begun', async () => {
    // Requests 100 and on wait for half a second: in a closed loop of one client one of them would notice.
    let count = 0;
    let open: Promise<unknown> | undefined;
    const server = rawServer((socket) => {
      if (count++ === 100) open = new Promise((resolve) => setTimeout(resolve, 500));
      if (open === undefined) socket.write(WHOLE);
      else void open.then(() => socket.write(WHOLE));
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result, details } = await runHammer(
      programs,
      url,
      '--rate',
      '200',
      '--requests',
      '300',
      '--connections',
      '1',
    );
    expect(result.requests).toEqual({ ok: 300, lost: 0 });
    expect(details).toMatchObject({ loop: 'open', rate: 200, notSent: 0 });
    expect(details.elapsedMs).toBeGreaterThanOrEqual(1_494);
    // A hundred of the 300 should have begun within that half second.
    expect((details.latencyMs as { p90: number }).p90).toBeGreaterThan(200);
    expect(result.longestGapMs).toBeGreaterThan(450);
  });

  test('an open loop against a server that answers nothing gives up what never began', async () => {
    const url = `http://127.0.0.1:${await listen(rawServer(() => {}))}/`;
    const more = ['--rate', '100', '--duration', '500ms', '--connections', '2', '--timeout', '300ms', '--threads', '2'];
    const { code, result, details } = await runHammer(programs, url, ...more);
    expect(result.requests.ok).toBe(0);
    expect(losses(result)).toEqual({ unanswered: result.requests.lost });
    expect(result.latencyMs).toEqual({ p50: 0, p99: 0, max: 0 });
    // All arrivals are accounted for.
    expect(result.requests.lost + (details.notSent as number)).toBeGreaterThanOrEqual(50);
    expect(details.notSent).toBeGreaterThan(0);
    expect(code).toBe(1);
  });

  test('the ticks cover the whole run, also when one thread is done long before another', async () => {
    const more = ['--mix', 'keep-alive:1,idle:1', '--threads', '2', '--requests', '12', '--idle', '200ms'];
    const { details, lines } = await runHammer(programs, await helloServer(), ...more);
    const covered = lines.reduce((sum, { type, coversMs }) => sum + (type === 'tick' ? Number(coversMs) : 0), 0);
    expect(details.elapsedMs).toBeGreaterThan(400);
    expect(covered).toBeCloseTo(Number(details.elapsedMs), -2);
  });

  test('answers that come after the last request was due are of no rate', async () => {
    // 50 arrivals in half a second, answered 25 a second.
    const url = `http://127.0.0.1:${await listen(rawServer((socket) => setTimeout(() => socket.write(WHOLE), 40)))}/`;
    const more = ['--rate', '100', '--duration', '500ms', '--connections', '1', '--fail-if', 'rps>30'];
    const { result, details } = await runHammer(programs, url, ...more);
    expect(result.requests).toEqual({ ok: expect.closeTo(50, -1), lost: 0 });
    expect(details).toMatchObject({ requestsPerSecond: expect.toSatisfy((rate: number) => rate <= 26), broken: [] });
  });

  test('what never began is a failure also where everything that was sent is answered', async () => {
    // Each answer takes 200 ms: one client makes two of the ten requests before the run is given up.
    const url = `http://127.0.0.1:${await listen(rawServer((socket) => setTimeout(() => socket.write(WHOLE), 200)))}/`;
    const more = ['--rate', '50', '--duration', '200ms', '--connections', '1', '--timeout', '250ms'];
    const { code, result, details } = await runHammer(programs, url, ...more, '--fail-if', 'errorRate>0.5');
    expect(result.requests.lost).toBe(0);
    expect(details.notSent).toBeGreaterThan(result.requests.ok);
    expect(details.broken).toEqual([expect.stringMatching(/^errorRate>0.5: 0\.\d+/)]);
    expect(code).toBe(1);
    expect((await runHammer(programs, url, ...more)).code).toBe(1);
    expect((await runHammer(programs, url, ...more, '--allow-lost')).code).toBe(0);
  });

  test('a connect that takes too long counts as refused', async () => {
    // 192.0.2.0/24 is documentation (RFC 5737): nobody answers there, or the network says at once that it is unreachable.
    const more = ['--connections', '2', '--requests', '2', '--connect-timeout', '200ms'];
    const { result } = await runHammer(programs, 'http://192.0.2.1:9/', ...more);
    expect(losses(result)).toEqual({ refused: 2 });
    expect(result.connections.opened).toBe(0);
  });

  test('a connect that hangs is refused by its own timeout, also where that of answers is shorter', async () => {
    const server = programs.start(new URL('fixtures/deaf.mjs', import.meta.url));
    const { port } = await server.message<{ port: number }>('ready');
    const more = ['--connections', '6', '--requests', '6', '--timeout', '150ms', '--connect-timeout', '600ms'];
    const { result, details } = await runHammer(programs, `http://127.0.0.1:${port}/`, ...more);
    const { refused, unanswered } = result.lostBy;
    expect(refused + unanswered).toBe(6);
    // Those in the queue have connected.
    expect(unanswered).toBeLessThanOrEqual(2);
    expect(details.slowConnects).toBe(refused);
    await server.stop('SIGKILL');
  });

  test('a want of descriptors is not the loss of the server: the requests are made later', async () => {
    let open = 0;
    const server = createServer((_, response) => {
      open++;
      setTimeout(() => response.end(), 50);
    });
    const port = await listen(server);
    const more = ['--connections', '80', '--requests', '200', '--json'];
    const command = [process.execPath, fileURLToPath(COMMAND), 'hammer', `http://127.0.0.1:${port}/`, ...more];
    // Enough for Node itself and some twenty connections.
    const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -n 60; exec "$@"', 'sh', ...command]);
    const [details, result] = stdout.trim().split('\n').slice(-2);
    expect(JSON.parse(result ?? '')).toMatchObject({ requests: { ok: 200, lost: 0 } });
    expect(JSON.parse(details ?? '')).toMatchObject({ ownFaults: expect.toSatisfy((count: number) => count > 0) });
    expect(open).toBe(200);
  });

  test('the pause of a half-sent request that had to be made again is taken from its latency once', async () => {
    const server = createServer((_, response) => setTimeout(() => response.end(), 100));
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const more = ['--mix', 'half-sent:60', '--half-pause', '300ms', '--requests', '120', '--json'];
    const command = [process.execPath, fileURLToPath(COMMAND), 'hammer', url, ...more];
    const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -n 60; exec "$@"', 'sh', ...command]);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { latencyCounts?: object; ownFaults?: number });
    expect(lines.at(-2)?.ownFaults).toBeGreaterThan(0);
    const buckets = lines.flatMap(({ latencyCounts = {} }) => Object.keys(latencyCounts).map(Number));
    // Bucket i begins at 2^(i/16) µs (lib/hammer/distribution.ts): nothing was answered before 100 ms were over.
    expect(2 ** (Math.min(...buckets) / 16) / 1_000).toBeGreaterThan(90);
  });

  test('a thread that cannot start ends the command', async () => {
    const command = [process.execPath, fileURLToPath(COMMAND), 'hammer', await helloServer()];
    const more = ['--connections', '16', '--threads', '16', '--duration', '200ms'];
    // Each thread needs some descriptors of its own.
    const limited = promisify(execFile)('sh', ['-c', 'ulimit -n 60; exec "$@"', 'sh', ...command, ...more], {
      timeout: 6_000,
    });
    const failed = await limited.then(
      () => undefined,
      (error) => error as { code: number | null; stderr: string },
    );
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/EMFILE|Worker/) });
  });

  test('a Unix socket', async () => {
    const path = join(privateFolder(), 'web.sock');
    const server = createServer((_, response) => response.end('hello\n'));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(async () => {
      await new Promise((resolve) => server.close(resolve));
    });
    const { result } = await runHammer(
      programs,
      'http://app/',
      '--unix',
      path,
      '--mix',
      'keep-alive:2,new:2',
      '--requests',
      '40',
    );
    expect(result.requests).toEqual({ ok: 40, lost: 0 });
  });
});

describe('the ledger', () => {
  test('finds what was executed twice, unanswered, never, or not to the end', async () => {
    const log = join(privateFolder(), 'log');
    writeFileSync(log, 'begin 1\nend 1\nbegin 1\n'); // of an earlier run
    const note = (line: string): void => appendFileSync(log, `${line}\n`);
    const server = rawServer((socket, { number }) => {
      const n = Number(number);
      if (n % 10 === 3) {
        socket.end(); // never begun
        return;
      }
      note(`begin ${n}`);
      if (n % 10 === 5) note(`begin ${n}`); // begun twice
      if (n % 10 === 7) {
        socket.end(); // begun, not ended
        return;
      }
      note(`end ${n}`);
      if (n % 10 === 9)
        socket.resetAndDestroy(); // executed, not answered
      else socket.write(WHOLE);
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const { result } = await runHammer(
      programs,
      url,
      '--ledger',
      log,
      '--requests',
      '100',
      '--connections',
      '4',
      '--threads',
      '2',
    );
    expect(result.requests).toEqual({ ok: 70, lost: 30 });
    expect(losses(result)).toEqual({ earlyClose: 20, resetAfterWrite: 10 });
    expect(result.ledger).toEqual({ executedTwice: 10, executedUnanswered: 10, gaps: 10, begunNotEnded: 10 });
  });

  test('what is no file is refused before the run; what cannot be read after it is told beside the result', async () => {
    const log = join(privateFolder(), 'log');
    const server = createServer((_, response) => {
      if (!existsSync(log)) mkdirSync(log);
      response.end();
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const more = ['--ledger', log, '--requests', '6', '--connections', '2'];
    const { code, result, details } = await runHammer(programs, url, ...more);
    expect(result).toMatchObject({ requests: { ok: 6, lost: 0 } });
    expect(details.ledgerError).toMatch(/EISDIR/);
    expect(code).toBe(1);
    const refused = await runForPeople(programs, url, ...more);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/--ledger .* cannot be read: it is no file/);
  });

  test('a request that was never sent is no gap', async () => {
    const log = join(privateFolder(), 'log');
    const server = net.createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    server.listen(0, '127.0.0.1');
    const refusing = ['--ledger', log, '--requests', '6', '--connections', '2'];
    const { result } = await runHammer(programs, `http://127.0.0.1:${port}/`, ...refusing);
    expect(losses(result)).toEqual({ refused: 6 });
    expect(result.ledger).toEqual({ executedTwice: 0, executedUnanswered: 0, gaps: 0, begunNotEnded: 0 });
  });

  test('a server without a fault has a ledger without one', async () => {
    const log = join(privateFolder(), 'log');
    const server = createServer((request, response) => {
      appendFileSync(log, `begin ${String(request.headers['x-id'])}\nend ${String(request.headers['x-id'])}\n`);
      response.end();
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const more = [
      '--ledger',
      log,
      '--ledger-header',
      'X-Id',
      '--requests',
      '60',
      '--half-pause',
      '20ms',
      '--idle',
      '20ms',
    ];
    const { code, result } = await runHammer(programs, url, ...more);
    expect(result.requests).toEqual({ ok: 60, lost: 0 });
    expect(result.ledger).toEqual({ executedTwice: 0, executedUnanswered: 0, gaps: 0, begunNotEnded: 0 });
    expect(code).toBe(0);
  });
});
