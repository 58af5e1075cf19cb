// A roll that goes wrong: it pauses with the old workers serving, and is resumed, rolled back, or overtaken by another.
import { once } from 'node:events';
import { readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { expectUnharmed, fixture, keepAlive, type Running, release, running, stop, temporary } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

interface Reply<T = unknown> {
  readonly result?: T;
  readonly error?: string;
  readonly code?: string;
}

interface Status {
  readonly phase: string;
  readonly workers: readonly {
    readonly slot: number;
    readonly pid: number;
    readonly state: string;
    readonly release: { readonly cwd: string };
  }[];
  readonly roll?: {
    readonly state: string;
    readonly replaced: readonly number[];
    readonly waiting: readonly number[];
    readonly reason?: string;
  };
}

async function told<T>({ supervisor }: Running, call: string, ...args: unknown[]): Promise<Reply<T>> {
  supervisor.tell({ call, args });
  return supervisor.message<Reply<T>>(call, 30_000);
}

/** Two releases, `a` and `b`, and `current`, which leads to `a`; `b` ends in the second worker. */
function releases(): { readonly current: string; readonly b: string; switchTo(name: 'a' | 'b'): void } {
  const root = temporary();
  for (const name of ['a', 'b']) {
    const folder = release(join(root, name));
    const fails = name === 'b' ? `if (process.env.HANDOVER_WORKER === '1') process.exit(4);\n` : '';
    const app = `import http from 'node:http';\nimport { serve } from 'handover';\n${fails}
      const server = http.createServer((_, res) => res.setHeader('x-pid', process.pid).setHeader('content-length', 2).end('${name}\\n'));
      await serve(server, { port: Number(process.env.PORT), probation: { duration: 0 } });`;
    writeFileSync(join(folder, 'server.mjs'), app);
    symlinkSync(process.execPath, join(folder, 'node'));
  }
  const current = join(root, 'current');
  const switchTo = (name: string): void => {
    symlinkSync(name, `${current}.new`);
    renameSync(`${current}.new`, current);
  };
  switchTo('a');
  return { current, b: join(root, 'b'), switchTo };
}

/** As it was called. */
function executableOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '';
}

describe('a roll', () => {
  it('G5: pauses where a worker of the new release fails; is resumed, and rolled back to the release as it was', async () => {
    const { current, switchTo } = releases();
    const app = await running(start, ['--workers', '3'], {
      fixture: 'told.mjs',
      program: join(current, 'node'),
      command: ['server.mjs'],
      cwd: current,
    });
    const traffic = keepAlive(app.port, 9);
    expect(await told(app, 'resume')).toMatchObject({ code: 'ERR_HANDOVER_NOT_READY' });
    switchTo('b');
    const failed = await told(app, 'upgrade');
    expect(failed).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    expect(failed.error).toMatch(/worker 1 .* exit code 4/);
    const paused = (await told<Status>(app, 'status')).result;
    expect(paused).toMatchObject({ phase: 'paused', roll: { state: 'paused', replaced: [0], waiting: [1, 2] } });
    expect(paused?.roll?.reason).toBe(failed.error);
    expect(await told(app, 'resume')).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    const back = await told<readonly { slot: number }[]>(app, 'rollBack');
    expect(back.result?.map(({ slot }) => slot)).toEqual([0]);
    const after = (await told<Status>(app, 'status')).result;
    expect(after).toMatchObject({ phase: 'serving', roll: { state: 'rolled back', replaced: [] } });
    await until(() => app.workers().length === 3, { what: 'the one of release b to leave', timeout: 20_000 });
    const settled = (await told<Status>(app, 'status')).result;
    expect(settled?.workers.map(({ release: { cwd } }) => cwd.endsWith('/a'))).toEqual([true, true, true]);
    expect(app.workers().map(executableOf)).toEqual(Array(3).fill(expect.stringMatching(/\/a\/node$/)));
    await expectUnharmed(traffic);
    expect((await told<readonly unknown[]>(app, 'upgrade', { ifChanged: true })).code).toBe(
      'ERR_HANDOVER_SUCCESSOR_EXITED',
    );
    switchTo('a');
    // Only worker 0 has another release now.
    expect((await told<readonly unknown[]>(app, 'upgrade', { ifChanged: true })).result).toHaveLength(1);
    await stop(app);
  }, 60_000);

  it('G5: and a recall: the place is of the release that took back, which the next --if-changed replaces', async () => {
    const { current, switchTo } = releases();
    const setup = { fixture: 'told.mjs', command: ['server.mjs'], cwd: current, settle: 0 };
    const app = await running(start, ['--workers', '1'], setup);
    const [first = 0] = app.workers();
    // Half a request keeps the old one draining.
    const client = net.connect(app.port, '127.0.0.1');
    client.on('error', () => {});
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(client, 'data');
    client.write('GET / HTTP/1.1\r\nHost: x\r\n');
    switchTo('b');
    expect((await told(app, 'upgrade')).error).toBeUndefined();
    const second = app.workers().find((pid) => pid !== first) ?? 0;
    process.kill(second, 'SIGKILL');
    await until(() => app.workers().length === 1 && app.workers()[0] === first, { what: 'the first alone' });
    // Once it alone is there and in charge.
    const releaseOf = async (): Promise<string> => {
      for (;;) {
        const { workers = [] } = (await told<Status>(app, 'status')).result ?? {};
        const [worker] = workers;
        if (worker?.state === 'in-charge' && workers.length === 1) return worker.release.cwd.split('/').at(-1) ?? '';
      }
    };
    expect(await releaseOf()).toBe('a');
    expect((await told<readonly unknown[]>(app, 'upgrade', { ifChanged: true })).result).toHaveLength(1);
    client.end('\r\n');
    await until(() => app.workers().length === 1, { what: 'the first to leave', timeout: 20_000 });
    expect(await releaseOf()).toBe('b');
    await stop(app);
  }, 60_000);

  it('G5: of a release that crashes soon after it is in charge goes back to the one before', async () => {
    const crash = join(temporary(), 'crash');
    const app = await running(start, [], {
      fixture: 'told.mjs',
      command: [fixture('moody.mjs'), `crash=${crash}`],
      settle: 1_500,
    });
    writeFileSync(crash, '');
    const failed = await told(app, 'upgrade');
    expect(failed).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' });
    expect(failed.error).toMatch(/ended within 1500 ms after it was put in charge/);
    rmSync(crash);
    // It comes back; then a roll replaces it.
    expect((await told(app, 'resume')).error).toBeUndefined();
    expect((await told<Status>(app, 'status')).result?.phase).toBe('serving');
    await stop(app);
  }, 60_000);

  it('G5: whose new worker hangs ends at --progress-deadline, with the old one serving', async () => {
    const hang = join(temporary(), 'hang');
    const app = await running(start, ['--progress-deadline', '2500'], {
      fixture: 'told.mjs',
      command: [fixture('moody.mjs'), `hang=${hang}`],
    });
    const traffic = keepAlive(app.port, 3);
    const before = app.workers();
    writeFileSync(hang, '');
    const failed = await told(app, 'upgrade');
    expect(failed).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT' });
    expect(failed.error).toMatch(/--progress-deadline/);
    await until(() => app.workers().length === 1, { what: 'the hung one to be ended' });
    expect(app.workers()).toEqual(before);
    rmSync(hang);
    expect((await told(app, 'resume')).error).toBeUndefined();
    await expectUnharmed(traffic);
    await stop(app);
  }, 60_000);

  it('asked for in a burst while one is under way, is done once more after it', async () => {
    const app = await running(start, ['--workers', '2'], { command: [fixture('moody.mjs')] });
    const traffic = keepAlive(app.port, 4);
    app.supervisor.child.kill('SIGHUP');
    await app.supervisor.errorLine(/worker 0 is pid \d+ now/, 20_000);
    for (let i = 0; i < 5; i++) {
      app.supervisor.child.kill('SIGHUP');
      await app.supervisor.errorLine(/replacing the workers: SIGHUP/);
    }
    for (let i = 0; i < 2; i++) await app.supervisor.errorLine(/worker 1 is pid \d+ now/, 20_000);
    expect(app.supervisor.stderr).not.toContain('paused');
    await expectUnharmed(traffic);
    await stop(app);
    expect(app.supervisor.stderr.match(/worker \d is pid/g)).toHaveLength(4);
  }, 60_000);

  it('replaces as many at a time as --max-surge says', async () => {
    const app = await running(start, ['--workers', '3', '--max-surge', '3'], { command: [fixture('moody.mjs')] });
    const before = app.workers();
    app.supervisor.child.kill('SIGUSR2');
    await until(() => app.workers().length === 6, { what: 'three more workers', timeout: 20_000 });
    for (let i = 0; i < 3; i++) await app.supervisor.errorLine(/worker \d is pid/, 20_000);
    await until(() => app.workers().length === 3, { what: 'the old ones to leave' });
    expect(app.workers().some((pid) => before.includes(pid))).toBe(false);
    await stop(app);
  }, 60_000);
});
