// G4, G5: a slot of `handover run` has one worker in charge, whichever of three generations dies or stops: the supervisor
// gives all workers of a slot the same arbiter, and knows of a worker that is in charge again.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { gone, identify, untilStopped } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { askOnce, fixture, type Running, replaced, running, stop, temporary } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

interface Chain {
  readonly app: Running;
  readonly first: number;
  readonly second: number;
  /** Lets the first answer what it has held, which it must do itself. */
  answered(): Promise<void>;
  /** It has been killed. */
  lost(): Promise<void>;
}

/** A drains, B is in charge; what B starts is on probation for a minute. */
async function chain(): Promise<Chain> {
  const release = join(temporary(), 'release');
  const app = await running(start, ['--workers', '1', '--progress-deadline', '30000'], {
    command: [fixture('held.mjs'), `release=${release}`, 'probation=60000'],
    settle: 0,
  });
  const [first = 0] = app.workers();
  const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
  const held = client.request('/held');
  // Of one that was killed it is looked at later.
  held.catch(() => {});
  await app.supervisor.line(/held/);
  writeFileSync(`${release}.probation`, '');
  await replaced(app, 1);
  const [second = 0] = app.workers().filter((pid) => pid !== first);
  return {
    app,
    first,
    second,
    async answered() {
      writeFileSync(release, '');
      expect((await held).pid).toBe(first);
      client.close();
    },
    async lost() {
      await expect(held).rejects.toThrow(/reset|closed/);
      client.close();
    },
  };
}

/** The third one, which is on probation, or was started by the supervisor; it accepts before it is in charge. */
async function another({ app, first, second }: Chain): Promise<number> {
  const isNew = (pid: number): boolean => pid !== first && pid !== second;
  const pid = await until(() => app.workers().find(isNew), { what: 'another worker', timeout: 20_000 });
  await until(() => isListening(app, pid), { what: 'it to accept', interval: 10 });
  return pid;
}

/** It has its copy of the listener in its loop, beside the supervisor's. */
function isListening({ supervisor }: Running, pid: number): boolean {
  const shared = new Set(
    [...openDescriptors(supervisor.pid).values()].filter((target) => target.startsWith('socket:')),
  );
  return [...openDescriptors(pid).values()].filter((target) => shared.has(target)).length >= 2;
}

function kill(pid: number): Promise<void> {
  const id = identify(pid);
  process.kill(pid, 'SIGKILL');
  return id ? gone(id) : Promise.resolve();
}

async function stopped(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await untilStopped(pid);
}

/** It alone answers, and the next replacement reaches it. */
async function servesAlone(app: Running, pid: number): Promise<void> {
  await until(() => app.workers().length === 1, { what: 'one worker', timeout: 20_000 });
  expect(app.workers()).toEqual([pid]);
  for (let i = 0; i < 40; i++) expect(await askOnce(app.port)).toBe(pid);
  // What holds it ends: nothing is on probation any more.
  await stop(app);
}

describe('G4, G5: `--workers 1`, A drains', () => {
  it('and B is killed while C is on probation: A is in charge alone, and the next roll replaces it', async () => {
    const all = await chain();
    const { app, first, second } = all;
    app.supervisor.child.kill('SIGUSR2');
    const young = await another(all);
    const end = identify(young);
    await kill(second);
    if (end) await gone(end);
    await app.supervisor.errorLine(/the roll paused/, 30_000);
    await all.answered();
    for (let i = 0; i < 40; i++) expect(await askOnce(app.port)).toBe(first);
    expect(app.workers()).toEqual([first]);
    await replaced(app, 1);
    await until(() => !app.workers().includes(first), { what: 'the first to leave' });
    const [last = 0] = app.workers();
    await servesAlone(app, last);
  }, 60_000);

  it('and is stopped, B is killed, another is started: that one ends when A goes on', async () => {
    const all = await chain();
    const { app, first, second } = all;
    await stopped(first);
    await kill(second);
    const spare = await another(all);
    // Clients need not wait for what is decided.
    expect(await askOnce(app.port)).toBe(spare);
    process.kill(first, 'SIGCONT');
    await app.supervisor.errorLine(new RegExp(`is pid ${first} again: pid ${spare} is not needed`), 20_000);
    await all.answered();
    await servesAlone(app, first);
  }, 60_000);

  it('and is stopped, B is killed, another is started: that one is in charge when A is killed', async () => {
    const all = await chain();
    const { app, first, second } = all;
    await stopped(first);
    await kill(second);
    const spare = await another(all);
    await kill(first);
    await all.lost();
    await servesAlone(app, spare);
  }, 60_000);
});
