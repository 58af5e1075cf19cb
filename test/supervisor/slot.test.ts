// What meets in one slot: a crash, a restart, a recall, a roll, a scale-down, an end. Whatever comes upon whatever, it has one
// worker in the end, whose successor the next roll finds.
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import {
  askOnce,
  expectUnharmed,
  fixture,
  keepAlive,
  type Running,
  replaced,
  running,
  stop,
  temporary,
} from './running.js';

expectNoLeaks();
const { start } = usePrograms();
const MOODY = fixture('moody.mjs');

/** Ends the only worker, and resolves with its pid when it is gone. */
async function killed(app: Running): Promise<number> {
  const [victim = 0] = app.workers();
  process.kill(victim, 'SIGKILL');
  await until(() => !app.workers().includes(victim), { what: 'its end' });
  return victim;
}

/** The slot has one worker, all answers are its own, and a roll replaces it. */
async function expectOne(app: Running): Promise<void> {
  const only = await until(() => app.workers().length === 1 && app.workers()[0], {
    what: 'one worker',
    timeout: 20_000,
  });
  const answers = await Promise.all(Array.from({ length: 10 }, () => askOnce(app.port)));
  expect([...new Set(answers)]).toEqual([only]);
  await replaced(app, 1);
  await until(() => app.workers().length === 1 && app.workers()[0] !== only, { what: 'the old one to leave' });
}

/** A request that is answered when `end()` is called: its worker drains until then. */
function openRequest(port: number): { readonly answered: Promise<unknown>; end(): void } {
  const socket = connect({ port, host: '127.0.0.1' }).setEncoding('latin1');
  onTestFinished(() => void socket.destroy());
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n');
  let text = '';
  socket.on('data', (chunk: string) => {
    text += chunk;
  });
  const answered = once(socket, 'end').then(() => /^HTTP\/1.1 200 .*hi\n$/s.test(text));
  return { answered, end: () => socket.write('body') };
}

describe('a slot', () => {
  it('G4: has one worker after a roll asked for at any moment of a restart', async () => {
    const app = await running(start, [], { command: [MOODY], settle: 0 });
    for (let delay = 60; delay < 160; delay += 10) {
      await killed(app);
      await app.supervisor.errorLine(/started again in \d+ ms/);
      await pause(delay);
      await replaced(app, 1);
      await until(() => app.workers().length === 1, { what: `one worker (${delay} ms)`, timeout: 5_000 });
    }
    await expectOne(app);
    await stop(app);
  }, 90_000);

  it('G4: has one worker after a roll that finds a restart which takes longer than its own', async () => {
    const slow = join(temporary(), 'slow');
    const app = await running(start, [], { command: [MOODY, `slow-if=${slow}`], settle: 0 });
    writeFileSync(slow, '1500');
    const first = await killed(app);
    const restarted = await until(() => app.workers().find((pid) => pid !== first), { what: 'its restart' });
    await app.supervisor.line(/is slow/);
    rmSync(slow);
    await replaced(app, 1);
    await until(() => app.workers().length === 1, { what: 'the restarted one to leave', timeout: 20_000 });
    expect(app.workers()).not.toContain(restarted);
    await pause(500);
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it('G4: has one worker after a roll asked for while a predecessor takes back', async () => {
    const app = await running(start, [], { command: [fixture('reading.mjs')], settle: 0 });
    const { answered, end } = openRequest(app.port);
    const [first = 0] = app.workers();
    await askOnce(app.port);
    await replaced(app, 1);
    // Stopped, it does so a moment later.
    process.kill(first, 'SIGSTOP');
    process.kill(app.workers().find((pid) => pid !== first) ?? 0, 'SIGKILL');
    await app.supervisor.errorLine(/ended with SIGKILL/);
    app.supervisor.child.kill('SIGHUP');
    await app.supervisor.errorLine(/replacing the workers: SIGHUP/);
    await pause(300);
    process.kill(first, 'SIGCONT');
    await app.supervisor.errorLine(/worker 0 is pid \d+ now/, 30_000);
    end();
    expect(await answered).toBe(true);
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it('G3, G4: gives the connections of a worker started instead to one that comes back after all', async () => {
    const app = await running(start, [], { command: [fixture('reading.mjs')], settle: 0 });
    const [first = 0] = app.workers();
    const { answered, end } = openRequest(app.port);
    await askOnce(app.port);
    await replaced(app, 1);
    process.kill(first, 'SIGSTOP');
    process.kill(app.workers().find((pid) => pid !== first) ?? 0, 'SIGKILL');
    await app.supervisor.errorLine(/started again/, 20_000);
    const spare = await until(() => app.workers().length === 2 && app.workers().find((pid) => pid !== first), {
      what: 'a new worker',
    });
    const traffic = keepAlive(app.port, 5);
    await traffic.load.answered(spare, 20);
    process.kill(first, 'SIGCONT');
    await app.supervisor.errorLine(new RegExp(`is pid ${first} again: pid ${spare} is not needed`));
    await traffic.load.answered(first, 20);
    end();
    expect(await answered).toBe(true);
    await until(() => app.workers().length === 1, { what: 'the new one to leave', timeout: 20_000 });
    expect(app.workers()).toEqual([first]);
    await expectUnharmed(traffic);
    expect(app.supervisor.stderr).not.toMatch(/ANOTHER_IN_CHARGE/);
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it.each([
    ['without --listen', false, 1_500],
    ['with --listen', true, 1_500],
    ['longer than a silent program is waited for', true, 3_500],
  ])(
    'G3: closes no connection where a roll finds a restarted worker that loads (%s)',
    async (_, listens, slow) => {
      const app = await running(start, [], { command: [MOODY, `slow=${slow}`], listens });
      const first = app.workers();
      await killed(app);
      await until(() => app.workers().length === 1 && app.workers()[0] !== first[0], { what: 'its restart' });
      const traffic = keepAlive(app.port, 50);
      await pause(300);
      await replaced(app, 1);
      await traffic.load.answered(app.workers().at(-1) ?? 0, 50);
      await until(() => app.workers().length === 1, { what: 'the old one to leave', timeout: 20_000 });
      await expectUnharmed(traffic);
      await stop(app);
    },
    60_000,
  );

  it('G3: closes no connection where a roll finds the very first worker still loading', async () => {
    const app = await running(start, [], { command: [MOODY, 'slow=3000'], listens: true });
    const traffic = keepAlive(app.port, 20);
    await replaced(app, 1);
    await until(() => app.workers().length === 1, { what: 'the old one to leave', timeout: 20_000 });
    await traffic.load.answered(app.workers()[0] ?? 0, 20);
    await expectUnharmed(traffic);
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it('G5: takes a worker of a roll in the place of one that hangs in its restart', async () => {
    const hang = join(temporary(), 'hang');
    const app = await running(start, ['--progress-deadline', '6000'], { command: [MOODY, `hang=${hang}`] });
    writeFileSync(hang, '');
    await killed(app);
    const hung = await until(() => app.workers()[0], { what: 'its restart' });
    const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
    const waiting = client.request('/');
    await app.supervisor.line(/hangs/);
    rmSync(hang);
    await replaced(app, 1);
    expect((await waiting).pid).not.toBe(hung);
    client.close();
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it('G1: has another worker at once where one ends by itself and drains', async () => {
    const app = await running(start, [], { command: [fixture('reading.mjs')], settle: 0 });
    const { answered, end } = openRequest(app.port);
    await askOnce(app.port);
    const [first = 0] = app.workers();
    process.kill(first, 'SIGTERM');
    await app.supervisor.errorLine(/started again/);
    expect(await askOnce(app.port)).not.toBe(first);
    expect(app.workers()).toContain(first);
    await replaced(app, 1);
    end();
    expect(await answered).toBe(true);
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it.each([
    ['pauses', [], /started again/],
    ['loads', ['slow=3000'], /ended with SIGKILL/],
  ])(
    'ends with 0 when it is told to while a restart %s',
    async (_, moods, line) => {
      const app = await running(start, [], { command: [MOODY, ...moods], settle: 0 });
      const victim = await killed(app);
      await app.supervisor.errorLine(line);
      if (moods.length > 0) await until(() => app.workers().some((pid) => pid !== victim), { what: 'its restart' });
      app.supervisor.child.kill('SIGHUP');
      app.supervisor.child.kill('SIGTERM');
      expect(await app.supervisor.exit(20_000)).toEqual({ code: 0, signal: null });
    },
    60_000,
  );

  it('G2: scales down to the worker that serves while the other one loads or hangs', async () => {
    const hang = join(temporary(), 'hang');
    const app = await running(start, ['--workers', '2', '--stop-timeout', '8000'], {
      command: [MOODY, `hang=${hang}`, 'slow=300'],
    });
    writeFileSync(hang, '');
    const [stays = 0, victim = 0] = app.workers();
    process.kill(victim, 'SIGKILL');
    const hung = await until(() => app.workers().find((pid) => pid !== stays && pid !== victim), { what: 'a restart' });
    await app.supervisor.line(/hangs/);
    const traffic = keepAlive(app.port, 10);
    app.supervisor.child.kill('SIGTTOU');
    await app.supervisor.errorLine(/1 worker serves/, 20_000);
    expect(app.workers()).toEqual([stays]);
    expect(hung).not.toBe(stays);
    rmSync(hang);
    await expectUnharmed(traffic);
    await expectOne(app);
    await stop(app);
  }, 60_000);

  it('G2, G3: a worker that is to leave waits for the one that is started again, which gets its connections', async () => {
    const slow = join(temporary(), 'slow');
    const app = await running(start, ['--workers', '2'], { command: [MOODY, `slow-if=${slow}`], settle: 0 });
    const [victim = 0, leaves = 0] = app.workers();
    writeFileSync(slow, '1500');
    process.kill(victim, 'SIGKILL');
    await app.supervisor.line(/is slow/);
    rmSync(slow);
    const traffic = keepAlive(app.port, 10);
    await traffic.load.answered(leaves, 20);
    app.supervisor.child.kill('SIGTTOU');
    await app.supervisor.errorLine(/1 worker serves/, 30_000);
    expect(app.workers()).not.toContain(leaves);
    await expectUnharmed(traffic);
    await expectOne(app);
    await stop(app);
  }, 60_000);
});
