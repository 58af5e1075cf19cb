// G5: recall. A successor that fails after COMMIT, while its predecessor still drains, costs what it owned: the
// predecessor serves again on the same sockets, and its app has not noticed.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type App, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { familyOf, privateFolder, server, stopped, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const apps = useApps();

interface Failed {
  readonly code: string;
  readonly phase: string;
  readonly stillServing: boolean;
  readonly error: { readonly message: string };
}

/** A successor that has come to fail while the first process answers a long request. */
async function recalled(fail: (second: App) => unknown): Promise<Failed> {
  const folder = privateFolder();
  const pidFile = join(folder, 'pid');
  const takeover = join(folder, 'handover.sock');
  const options = { probation: { duration: 0, stallTimeout: 200 }, pidFile, takeover };
  const good = server({ options });
  const family = await familyOf(apps, good);
  const { first } = family;
  const target = await targetOf(first);
  const identity = statSync(takeover).ino;
  const visitors = new Visitors(target);
  const client = new HttpConnection(target);
  const held = client.request('/hold');
  await first.said('held');

  const { pid } = await first.upgrade();
  const second = await family.generation(2);
  await visitors.answered(pid, 10);
  expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}\n`);
  expect(
    await first.run(({ servers }) => {
      const http = servers.http as import('node:net').Server;
      return [http.listening, http.address() !== null];
    }),
  ).toEqual([true, true]);
  await fail(second);

  await first.said('handover:in-charge', 2);
  expect(second.process.alive()).toBe(false);
  await visitors.answered(first.pid, 10);
  expect(await first.run(({ handover }) => [handover.isInCharge, handover.closing.aborted])).toEqual([true, false]);
  expect(first.allSaid('server')).toEqual(['listening']);
  expect(first.allSaid('duty')).toEqual(['start', 'stop', 'start']);
  expect(first.allSaid('hook')).toEqual([]);
  expect(first.allSaid('closing')).toEqual(['aborted']);
  expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`);
  expect(statSync(takeover).ino).toBe(identity);
  const failed = first.allSaid('handover:failed')[0] as Failed;
  expect(failed).toMatchObject({ stillServing: true });

  // The connection that was drained over the whole time gets its answer.
  await first.run(({ servers }) => servers.http?.release());
  expect((await held).pid).toBe(first.pid);
  client.close();

  // A later handover finds all in its place: by the takeover socket, then by a signal of the first kind.
  family.start();
  const third = await family.generation(3);
  await third.booted;
  await first.process.gone();
  expect(readFileSync(pidFile, 'utf8')).toBe(`${third.pid}\n`);
  const last = await third.upgrade();
  await visitors.answered(last.pid, 10);
  await third.process.gone();
  await visitors.stop();
  expect(visitors.refused).toEqual([]);
  await (await family.generation(4)).close();
  return failed;
}

describe('G5: while its predecessor drains, a successor', () => {
  it('is killed', async () => {
    const failed = await recalled((second) => second.process.signal('SIGKILL'));
    expect(failed).toMatchObject({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'DRAIN' });
    expect(failed.error.message).toMatch(/killed by SIGKILL/);
  });

  it('stops: what queued up meanwhile is answered, none is refused', async () => {
    let queued: ReturnType<typeof visit>[] = [];
    let target: Awaited<ReturnType<typeof targetOf>> | undefined;
    const failed = await recalled(async (second) => {
      target = await targetOf(second);
      await stopped(second);
      const at = target;
      // Nobody accepts now.
      queued = Array.from({ length: 30 }, () => visit(at));
    });
    expect(failed).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', phase: 'DRAIN' });
    expect(failed.error.message).toMatch(/no heartbeat for \d+ ms/);
    const pids = new Set((await Promise.all(queued)).map((seen) => ('pid' in seen ? seen.pid : JSON.stringify(seen))));
    expect(pids.size).toBe(1);
  });
});

it('G5: at COMMIT itself, before it says COMMITTED, a successor is killed', async () => {
  const options = { probation: { duration: 0 } };
  const before = (): void => {
    const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
    subscribe('handover:frame', (frame) => {
      const { direction, name } = frame as { direction: string; name: string };
      if (direction === 'received' && name === 'COMMIT') process.kill(process.pid, 'SIGKILL');
    });
  };
  const { chain, first } = await apps.chain([server({ options }), server({ options, before }), server({ options })]);
  const visitors = new Visitors(await targetOf(first));
  const message = await first.run(({ handover }) => handover.upgrade().then(String, (error) => error.message));
  expect(message).toMatch(/SIGKILL/);
  expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
  await visitors.answered(first.pid, 10);
  expect(first.allSaid('server')).toEqual(['listening']);
  expect(first.allSaid('duty')).toEqual(['start', 'stop', 'start']);
  expect(first.allSaid('closing')).toEqual([]);
  const { pid } = await first.upgrade();
  await visitors.answered(pid, 10);
  await visitors.stop();
  expect(visitors.refused).toEqual([]);
  await first.process.gone();
  await (await chain.generation(3)).close();
});

it('G5: a successor that gives up removes no path of the process that serves', async () => {
  const folder = privateFolder();
  const paths = ['web.sock', 'control.sock', 'handover.sock'].map((name) => join(folder, name));
  const [path = '', control = '', takeover = ''] = paths;
  const pidFile = join(folder, 'pid');
  const options = { probation: { duration: 10_000 }, control, takeover, pidFile };
  const listen = { name: 'web', path };
  const ill = server({
    options,
    listen,
    health: ({ kept }) => kept.ill !== true,
    // It ends by itself, and not by the signal that comes behind the word.
    before: () => void process.on('SIGTERM', () => {}),
  });
  const { chain: processes, first } = await apps.chain([server({ options, listen }), ill]);
  const identities = (): string[] => paths.map((one) => `${statSync(one).ino}`);
  const before = identities();
  const upgrading = first.run(({ handover }) => handover.upgrade().then(String, (error) => error.code));
  const second = await processes.generation(2);
  await second.booted;
  await second.run(({ kept }) => {
    kept.ill = true;
  });
  expect(await upgrading).toBe('ERR_HANDOVER_PROBATION_FAILED');
  await second.process.gone();
  expect(identities()).toEqual(before);
  expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`);
  expect(await visit({ path })).toEqual({ pid: first.pid });
  await first.close();
});
