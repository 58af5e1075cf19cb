// examples/supervisord/web.conf under a real supervisord: `handover run` as one of its programs.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Visitors, visit } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { type Program, usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { childrenOf, expectUnharmed, keepAlive, release, temporary } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

const isThere = spawnSync('supervisord', ['--version'], { stdio: 'ignore' }).status === 0;
// Loudly: the name of the tests says why they did not run.
const needs = isThere ? '' : ' (SKIPPED: needs supervisord)';
const EXAMPLE = new URL('../../examples/supervisord/web.conf', import.meta.url);
const UNDER = new URL('../handover/fixtures/under.mjs', import.meta.url);

interface Supervised {
  readonly target: { readonly port: number; readonly host: string };
  /** `supervisorctl`; resolves with what it says. */
  readonly ctl: (...args: readonly string[]) => Promise<string>;
  /** The pid of `handover run`. */
  readonly main: () => Promise<number>;
  /** Ends supervisord. */
  readonly shutdown: () => Promise<void>;
}

/** A supervisord with the example, which has the paths, the port and the pace of this test; it serves. */
async function supervised(): Promise<Supervised> {
  const target = { port: freePort(), host: '127.0.0.1' };
  const root = release();
  mkdirSync(join(root, 'node_modules', '.bin'));
  symlinkSync('../handover/dist/cli/main.js', join(root, 'node_modules', '.bin', 'handover'));
  const folder = temporary();
  const socket = join(folder, 'ctl');
  const program = readFileSync(EXAMPLE, 'utf8')
    .replaceAll('/srv/web/current', root)
    .replaceAll('/usr/bin/node', process.execPath)
    .replace('--workers 2', '--workers 2 --settle 200')
    .replace('PORT="8080"', `PORT="${target.port}"`)
    .replace('/var/log/supervisor', folder);
  const daemon = `[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=${folder}/pid
childlogdir=${folder}
[unix_http_server]
file=${socket}
[supervisorctl]
serverurl=unix://${socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
`;
  writeFileSync(join(folder, 'conf'), daemon + program);
  writeFileSync(join(folder, 'web.log'), '');
  const supervisord = start(UNDER, { args: ['supervisord', '-c', join(folder, 'conf')] });
  const run = async (...args: readonly string[]): Promise<Program> => {
    const program = start(UNDER, { args: ['supervisorctl', '-c', join(folder, 'conf'), ...args] });
    await program.exit(30_000);
    await program.closed;
    return program;
  };
  const ctl = async (...args: readonly string[]): Promise<string> => (await run(...args)).stdout;
  const log = (): string => readFileSync(join(folder, 'web.log'), 'utf8');
  await until(() => spawnSync('test', ['-S', socket]).status === 0, { what: 'supervisord to answer', timeout: 20_000 });
  await until(() => /2 workers serve/.test(log()), { what: 'the workers to serve', timeout: 20_000 });
  return {
    target,
    ctl,
    main: async () => Number(await ctl('pid', 'web')),
    async shutdown() {
      await ctl('shutdown');
      await supervisord.exit(20_000);
    },
  };
}

/** Resolves with the two workers when none of those before is left. */
function renewed(main: number, before: readonly number[]): Promise<readonly number[]> {
  const look = (): readonly number[] | false => {
    const now = childrenOf(main);
    return now.length === 2 && !now.some((pid) => before.includes(pid)) && now;
  };
  return until(look, { what: 'two new workers', timeout: 20_000 });
}

describe.skipIf(!isThere)(`handover run under a real supervisord${needs}`, () => {
  it('G1 G2 G3: USR2 and HUP replace the workers, a killed one refuses nobody, stop drains', async () => {
    const { target, ctl, main, shutdown } = await supervised();
    const pid = await main();
    let workers: readonly number[] = childrenOf(pid);
    const traffic = keepAlive(target.port, 12);
    const visitors = new Visitors(target, 2);
    for (const signal of ['USR2', 'HUP']) {
      expect(await ctl('signal', signal, 'web')).toBe('web: signalled\n');
      workers = await renewed(pid, workers);
      await visitors.answered(workers[0] as number, 1);
    }
    await expectUnharmed(traffic);
    expect(visitors.lost).toEqual([]);

    const [victim = 0, other = 0] = workers;
    process.kill(victim, 'SIGKILL');
    workers = await until(
      () => {
        const now = childrenOf(pid);
        return now.length === 2 && !now.includes(victim) && now;
      },
      { what: 'a new worker' },
    );
    await visitors.answered(other, 5);
    await visitors.stop();
    expect(visitors.refused).toEqual([]);
    // Each visitor has one connection at a time.
    expect(visitors.lost.length).toBeLessThanOrEqual(2);

    const slow = visit(target, '/slow');
    // Accepted before this one.
    await visit(target);
    expect(await main()).toBe(pid);
    expect(await ctl('stop', 'web')).toBe('web: stopped\n');
    expect(await slow).toEqual({ pid: expect.toBeOneOf([...workers]) });
    expect(await ctl('status', 'web')).toMatch(/^web +STOPPED/);
    expect(await visit(target)).toMatchObject({ refused: expect.stringContaining('ECONNREFUSED') });
    await shutdown();
  });

  it('G5: killed itself it is started again, and its workers finish what they have begun', async () => {
    const { target, main, shutdown } = await supervised();
    const pid = await main();
    const slow = visit(target, '/slow');
    // Accepted before this one.
    await visit(target);
    const before = childrenOf(pid);
    process.kill(pid, 'SIGKILL');
    expect(await slow).toEqual({ pid: expect.toBeOneOf(before) });
    let next = pid;
    while (next === pid || next === 0) next = await main();
    await until(() => childrenOf(next).length === 2, { what: 'new workers', timeout: 20_000 });
    const answered = async (): Promise<boolean> => 'pid' in (await visit(target));
    while (!(await answered()));
    await shutdown();
  });
});
