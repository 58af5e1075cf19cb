// How `handover hammer` ends: exit codes, limits, wrong usage, and what people see.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Totals } from '../../lib/hammer/fleet.js';
import { brokenLimits, parseLimits } from '../../lib/hammer/limits.js';
import { type Finished, metricsOf } from '../../lib/hammer/result.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { COMMAND, helloServer, listen, rawServer, runForPeople, runHammer } from './helpers.js';

expectNoLeaks();
const programs = usePrograms();

/** A terminal for a program, from util-linux. */
const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;
/** In the name of what is skipped. */
const needs = hasScript ? '' : ' (SKIPPED: script(1) of util-linux is not installed)';
/** What the view begins with to draw over itself: up some lines, and clear to the end of the screen. */
const REDRAW = new RegExp(`${String.fromCharCode(27)}\\[\\d+F${String.fromCharCode(27)}\\[J`);

describe('the verdict', () => {
  test('something lost is exit code 1, unless it is allowed', async () => {
    const url = `http://127.0.0.1:${await listen(rawServer((socket) => socket.end()))}/`;
    const more = ['--requests', '4', '--connections', '1'];
    expect((await runHammer(programs, url, ...more)).code).toBe(1);
    expect((await runHammer(programs, url, ...more, '--allow-lost')).code).toBe(0);
    expect((await runHammer(programs, url, ...more, '--allow-lost', '--fail-if', 'errorRate>0.99')).code).toBe(1);
  });

  test('of nothing there is no latency and no rate of errors: a limit for one is broken', () => {
    const nothing = metricsOf({ totals: new Totals(), elapsed: 1_000, switches: [] } as unknown as Finished);
    const broken = brokenLimits(parseLimits('p99>800,max>1,mean>1,errorRate>0.01,lost>0'), nothing);
    expect(broken).toEqual(
      ['p99>800', 'max>1', 'mean>1', 'errorRate>0.01'].map((one) => `${one}: not measured in this run`),
    );
  });

  test('limits that hold and limits that do not', async () => {
    const url = await helloServer();
    const more = ['--requests', '50', '--connections', '2'];
    expect((await runHammer(programs, url, ...more, '--fail-if', 'p99>60000,errorRate>0.01,ok<50')).code).toBe(0);
    const { code, details } = await runHammer(programs, url, ...more, '--fail-if', 'p50>0, ok >= 50');
    expect(details.broken).toEqual([expect.stringMatching(/^p50>0: /), 'ok>=50: 50']);
    expect(code).toBe(1);
  });

  test.each([
    [[], /which server/],
    [['localhost:8080'], /no URL of http/],
    [['http://localhost', '--mix', 'keepalive:3'], /no kind 'keepalive'/],
    [['http://localhost', '--mix', 'new:0'], /names no client/],
    [['http://localhost', '--duration', '10'], /no time like/],
    [['http://localhost', '--fail-if', 'p95>3'], /no metric 'p95'/],
    [['http://localhost', '--fail-if', 'p99'], /not like p99>800/],
    [['http://localhost', '--every', '5s'], /needs --exec or --signal/],
    [['http://localhost', '--signal', '-1'], /--signal/],
    [['http://localhost', '--duration', '0ms'], /--duration must be 1 ms at least, not 0ms/],
    [['http://localhost', '--timeout', '0.5ms'], /--timeout must be 1 ms at least/],
    [['http://localhost', '--connect-timeout', '0s'], /--connect-timeout must be 1 ms at least/],
    [['http://localhost', '--exec', 'true', '--every', '0ms'], /--every must be 1 ms at least/],
    [['http://localhost', '--duration', '597h'], /--duration 597h is more than a timer can wait/],
    [['http://localhost', '--idle', '597h'], /--idle 597h is more than a timer can wait/],
    [['http://localhost', '--exec', 'true', '--every', '10s'], /--every 10s triggers nothing in a run of 10000 ms/],
    [['http://localhost', '--signal', '1', '--signal-name', 'USR2'], /--signal-name USR2 is no signal here/],
    [['http://localhost', '--exec', 'true', '--signal-name', 'SIGHUP'], /--signal-name needs --signal/],
    [['http://localhost', '--ledger-header', 'x-id'], /--ledger-header needs --ledger/],
    [['http://localhost', '--signal', 'identified'], /needs --identify/],
    [['http://localhost', '--identify', 'pid'], /header:NAME or body:REGEX/],
    [['http://localhost', '--expect', 'match:('], /regular expression/],
    [['http://localhost', '--header', 'a: b\r\nc: d'], /is not NAME: VALUE/],
    [['http://localhost', '--tls-version', '1.1'], /1.2 or 1.3/],
    [['http://localhost', '--timeline', 'x'], /needs --report or --sla/],
    [['http://localhost', '--sla', '5'], /99, 99\.9 or 99\.99/],
    [['http://localhost', '--nonsense'], /Unknown option/],
  ])('%j is a wrong usage', async (args, complaint) => {
    const { code, stdout, stderr } = await runForPeople(programs, ...args);
    expect(stderr).toMatch(complaint);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  test('--help names every option', async () => {
    const { code, stdout } = await runForPeople(programs, '--help');
    for (const option of ['--rate', '--ledger', '--identify', '--fail-if', '--allow-lost', '--json']) {
      expect(stdout).toContain(`  ${option}`);
    }
    expect(code).toBe(0);
  });

  test('people get an account with the kernel beside the client', async () => {
    const url = `http://127.0.0.1:${await listen(rawServer((socket) => socket.resetAndDestroy()))}/`;
    const { code, stdout } = await runForPeople(programs, url, '--requests', '3', '--connections', '1');
    expect(stdout).toMatch(/^requests +0 ok +3 lost/m);
    expect(stdout).toMatch(/^client saw +resets 3 +refused 0/m);
    expect(stdout).toMatch(/^lost +3 resetAfterWrite: the connection was reset after/m);
    if (existsSync('/proc/net/netstat')) {
      const [, rsts] = /^kernel +.*OutRsts (\d+)/m.exec(stdout) ?? [];
      expect(Number(rsts)).toBeGreaterThanOrEqual(3);
    }
    expect(code).toBe(1);
  });

  test.skipIf(!hasScript)(
    `on a terminal the counts are drawn while they grow, and make way for the account${needs}`,
    async () => {
      const command = `'${process.execPath}' '${fileURLToPath(COMMAND)}' hammer ${await helloServer()} --duration 800ms --connections 2`;
      const { stdout } = await promisify(execFile)('script', ['-qec', command, '/dev/null']);
      const [first = '', ...screens] = stdout.split(REDRAW);
      expect(screens.length).toBeGreaterThanOrEqual(2);
      for (const screen of [first, ...screens.slice(0, -1)])
        expect(screen).toMatch(/^\d+\.\d{3} s {2}[\d,]+ ok {2}0 lost/);
      expect(screens.at(-1)).toMatch(/^http:[\s\S]*^requests +[\d,]+ ok {2}0 lost/m);
    },
  );

  test('an interrupt ends the run, with its result', async () => {
    let requests = 0;
    let heard = (): void => {};
    const underWay = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const server = createServer((_, response) => {
      response.end();
      requests++;
      heard();
    });
    const url = `http://127.0.0.1:${await listen(server)}/`;
    const program = programs.start(COMMAND, {
      args: ['hammer', url, '--json', '--duration', '60s'],
    });
    await underWay;
    expect(await program.stop('SIGINT')).toEqual({ code: 0, signal: null });
    await program.closed;
    expect(JSON.parse(program.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
      requests: { ok: requests, lost: 0 },
    });
  });
});
