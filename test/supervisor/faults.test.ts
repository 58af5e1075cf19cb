// What may die while workers are replaced: the supervisor goes on, and what it held is what it held.
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { gone, identify } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { askOnce, begun, expectUnharmed, fixture, keepAlive, replaced, running, stop, temporary } from './running.js';

expectNoLeaks();
const { start } = usePrograms();
const MOODY = fixture('moody.mjs');

describe('handover run', () => {
  it.each([
    'predecessor',
    'successor',
  ])('G1, G5: a %s killed in the middle of a roll is made good; the pid stays', async (victim) => {
    const app = await running(start, ['--workers', '2'], { command: [MOODY, 'slow=300'] });
    const before = app.workers();
    app.supervisor.child.kill('SIGUSR2');
    await until(() => app.workers().length === 3, { what: 'a successor' });
    const [first = 0] = before;
    const [successor = 0] = app.workers().filter((pid) => !before.includes(pid));
    process.kill(victim === 'successor' ? successor : first, 'SIGKILL');
    await app.supervisor.errorLine(/the roll paused|worker 0 is pid/, 20_000);
    const answers = await Promise.all(Array.from({ length: 10 }, () => askOnce(app.port)));
    expect(answers.every((pid) => pid > 0)).toBe(true);
    await until(() => app.workers().length === 2, { what: 'two workers again', timeout: 20_000 });
    await replaced(app, 2);
    expect(app.workers().some((pid) => before.includes(pid))).toBe(false);
    await stop(app);
  }, 60_000);

  it('G6: what a worker starts gets neither its link nor the listeners', async () => {
    const app = await running(start, [], { command: [MOODY, 'child=1'], listens: true });
    await app.supervisor.line(/ 2 -> /);
    await app.supervisor.line(/ -> \/proc\/\d+\/fd/);
    // But for stdin, stdout and stderr.
    expect(app.supervisor.stdout.match(/ ([3-9]|\d\d+) -> socket:.*/g)).toBeNull();
    await stop(app);
  });

  it('G5: workers drain and end when their supervisor is killed', async () => {
    const app = await running(start, ['--workers', '2'], { command: [MOODY] });
    const traffic = keepAlive(app.port, 2);
    await until(() => traffic.load.total > 4, { what: 'answers' });
    const ids = app.workers().map(identify);
    await traffic.load.stop();
    await app.supervisor.stop('SIGKILL');
    for (const id of ids) if (id) await gone(id);
    expect(traffic.load.failures).toEqual([]);
  });

  it('ends with 0 when it is told to in the middle of a start, a roll, or a back-off', async () => {
    const starting = await begun(start, [], { command: [MOODY, 'slow=60000'] });
    await until(() => starting.workers().length === 1, { what: 'a worker' });
    await stop(starting);

    const hang = join(temporary(), 'hang');
    const rolling = await running(start, ['--workers', '2'], { command: [MOODY, `hang=${hang}`] });
    writeFileSync(hang, '');
    rolling.supervisor.child.kill('SIGUSR2');
    await until(() => rolling.workers().length === 3, { what: 'a successor' });
    await stop(rolling);

    const crashing = await running(start, [], { command: [MOODY, 'fails-at=1'] });
    for (let i = 0; i < 4; i++) {
      process.kill(await until(() => crashing.workers()[0], { what: 'a worker' }), 'SIGKILL');
      await crashing.supervisor.errorLine(new RegExp(`started again in ${100 * 2 ** i} ms`));
    }
    await stop(crashing);
  }, 60_000);

  it('waits longer from crash to crash, and a new release ends the waiting', async () => {
    const crash = join(temporary(), 'crash');
    const app = await running(start, [], { command: [MOODY, `crash=${crash}`] });
    writeFileSync(crash, '');
    process.kill(app.workers()[0] ?? 0, 'SIGKILL');
    for (const delay of [100, 200, 400, 800]) {
      await app.supervisor.errorLine(new RegExp(`started again in ${delay} ms`));
    }
    rmSync(crash);
    await replaced(app, 1);
    expect(await askOnce(app.port)).toBe(app.workers()[0]);
    await stop(app);
  }, 60_000);

  it('exits with 1 when the first start fails or a worker has to be killed, with 2 for a bad command line', async () => {
    const broken = await begun(start, ['--workers', '2'], { command: [MOODY, 'fails-at=1'] });
    expect(await broken.supervisor.exit()).toEqual({ code: 1, signal: null });
    expect(broken.supervisor.stderr).toMatch(/worker 1 .* ended with exit code 3 before it served/);

    const missing = await begun(start, [], { program: '/nowhere/server' });
    expect(await missing.supervisor.exit()).toEqual({ code: 1, signal: null });
    expect(missing.supervisor.stderr).toContain('cannot start /nowhere/server');

    const stubborn = await running(start, ['--stop-timeout', '300'], {
      program: '/bin/sh',
      command: ['-c', 'trap "" TERM; while :; do sleep 0.1; done'],
      listens: true,
    });
    expect(await stubborn.supervisor.stop('SIGTERM')).toEqual({ code: 1, signal: null });

    const wrong = await begun(start, ['--workers', 'none']);
    expect(await wrong.supervisor.exit()).toEqual({ code: 2, signal: null });
    expect(wrong.supervisor.stderr).toContain('"--workers" must be an integer >= 1');
  }, 30_000);

  it('G2: a worker that systemd signals, too, finishes what it has begun', async () => {
    const app = await running(start, []);
    const [worker = 0] = app.workers();
    const slow = askOnce(app.port, '/slow');
    // Accepted before this one.
    await askOnce(app.port);
    process.kill(worker, 'SIGTERM');
    app.supervisor.child.kill('SIGTERM');
    expect(await slow).toBe(worker);
    expect(await app.supervisor.exit()).toEqual({ code: 0, signal: null });
  });

  it('a second signal ends it and the workers at once', async () => {
    const app = await running(start, [], {
      program: '/bin/sh',
      command: ['-c', 'trap "" TERM; sleep 600'],
      listens: true,
    });
    app.supervisor.child.kill('SIGTERM');
    await app.supervisor.errorLine(/stopping/);
    expect(await app.supervisor.stop('SIGTERM')).toEqual({ code: 143, signal: null });
  });

  it('serves on when nobody reads what it says', async () => {
    const app = await running(start, [], { command: [MOODY] });
    const traffic = keepAlive(app.port, 1);
    const [before = 0] = app.workers();
    app.supervisor.child.stderr?.destroy();
    app.supervisor.child.kill('SIGUSR2');
    await until(() => !app.workers().includes(before), { what: 'the old one to leave', timeout: 20_000 });
    await expectUnharmed(traffic);
    const exit = once(app.supervisor.child, 'exit');
    app.supervisor.child.kill('SIGTERM');
    expect(await exit).toEqual([0, null]);
  }, 30_000);
});
