// G4, G5: three generations at once. When the one in charge dies, the older one that drains and the younger one that was
// never committed have both lost it, and exactly one of them takes charge: the arbiter decides (lib/handover/arbiter.ts).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { shareholdersOf } from '../../lib/cli/charge.js';
import { lockers } from '../../lib/fd/lockers.js';
import { type App, type Inside, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Family, familyOf, privateFolder, server, stopped, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const apps = useApps();

interface Held {
  /** Lets the process answer, which it must do itself. */
  answered(): Promise<void>;
  /** The process has been killed. */
  lost(): Promise<void>;
}

/** A request that keeps a process draining. */
async function hold(app: App): Promise<Held> {
  const client = new HttpConnection(await targetOf(app));
  const answer = client.request('/hold');
  // Of one that was killed it is looked at later.
  answer.catch(() => {});
  await app.said('held');
  return {
    async answered() {
      await app.run(({ servers }) => servers.http?.release());
      expect((await answer).pid).toBe(app.pid);
      client.close();
    },
    async lost() {
      await expect(answer).rejects.toThrow(/reset|closed/);
      client.close();
    },
  };
}

const prepare = async ({ handover, kept }: Inside): Promise<void> => {
  kept.standby = await handover.prepare();
};

const commit = async ({ kept }: Inside): Promise<void> => {
  await (kept.standby as import('../../lib/index.js').Standby).commit();
};

/** How the third generation came about. */
type Way = 'self' | 'standby' | 'takeover';

interface Three {
  readonly family: Family;
  readonly first: App;
  readonly second: App;
  /** Not committed: on probation, or a standby. */
  readonly third: App;
  readonly held: Held;
  readonly pidFile: string;
  readonly takeover: string;
}

/** A drains, B is in charge, C is not committed. `stall`: how long each may be silent on probation. */
async function three(way: Way, { stall = 60_000 } = {}): Promise<Three> {
  const folder = privateFolder();
  const [pidFile, takeover] = [join(folder, 'pid'), join(folder, 'handover.sock')];
  const options = { probation: { duration: 0, stallTimeout: stall }, pidFile, takeover };
  const good = server({ options });
  const slow = server({ options: { ...options, probation: { duration: 60_000 } } });
  const family = await familyOf(apps, [good, slow, good, good]);
  const { first } = family;
  const held = await hold(first);
  await first.upgrade();
  const second = await family.generation(2);
  await second.booted;
  if (way === 'self') await second.run(({ handover }) => void handover.upgrade().catch(() => {}));
  if (way === 'takeover') family.start();
  if (way === 'standby') await second.run(prepare);
  const third = await family.generation(3);
  // READY has been said: on probation, or a standby that waits.
  if (way !== 'standby') await third.booted;
  return { family, first, second, third, held, pidFile, takeover };
}

const isInCharge = (app: App): Promise<boolean> => app.run(({ handover }) => handover.isInCharge);

/** The arbiter's descriptors of a process: what it holds of it, and nothing twice. */
function arbiters(app: App): number {
  return [...openDescriptors(app.pid).values()].filter((target) => target.startsWith('/memfd:handover:charge')).length;
}

/** As `handover status` shows it. */
function sharesOf({ pid }: App): ReturnType<typeof shareholdersOf> {
  const seen = lockers();
  return shareholdersOf(seen, seen.find((locker) => locker.pid === pid)?.inode ?? '');
}

/** `app` serves alone, a later upgrade reaches it, and nothing is left of the others. */
async function servesAlone(app: App, { family, pidFile }: Three, number = 4): Promise<void> {
  await until(() => readFileSync(pidFile, 'utf8') === `${app.pid}\n`, { what: 'the pid file to name it' });
  const target = await targetOf(app);
  for (let i = 0; i < 20; i++) expect(await visit(target)).toEqual({ pid: app.pid });
  expect(await isInCharge(app)).toBe(true);
  expect(arbiters(app)).toBe(1);
  // By the takeover socket, then from inside.
  const visitors = new Visitors(target);
  family.start();
  const next = await family.generation(number);
  await next.booted;
  await app.process.gone();
  await visitors.answered(next.pid, 5);
  expect(readFileSync(pidFile, 'utf8')).toBe(`${next.pid}\n`);
  expect(arbiters(next)).toBe(1);
  const { pid } = await next.upgrade();
  await next.process.gone();
  await visitors.answered(pid, 5);
  await visitors.stop();
  expect(visitors.refused).toEqual([]);
  await (await family.generation(number + 1)).close();
}

describe.each(['self', 'standby', 'takeover'] as const)('G4, G5: A drains, B is killed, and C (%s)', (way) => {
  it('ends: the older one is in charge, and it alone', async () => {
    const all = await three(way);
    const { first, second, third, held } = all;
    expect(sharesOf(second)).toEqual({ inCharge: [second.pid], mayTakeBack: [first.pid], others: [third.pid] });
    second.process.signal('SIGKILL');
    await first.said('handover:in-charge', 2);
    await third.process.gone();
    expect(sharesOf(first)).toEqual({ inCharge: [first.pid], mayTakeBack: [], others: [] });
    expect(third.allSaid('handover:in-charge')).toEqual([]);
    await held.answered();
    await servesAlone(first, all);
  });

  it('takes charge where A has retired before', async () => {
    const all = await three(way);
    const { first, second, third, held } = all;
    await held.answered();
    await first.process.gone();
    second.process.signal('SIGKILL');
    await third.said('handover:in-charge');
    await servesAlone(third, all);
  });

  it('waits while A is stopped, and ends when A goes on', async () => {
    const all = await three(way);
    const { first, second, third, held } = all;
    await stopped(first);
    second.process.signal('SIGKILL');
    await second.process.gone();
    // Long enough for what it decides without the arbiter.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await isInCharge(third)).toBe(false);
    first.process.signal('SIGCONT');
    await first.said('handover:in-charge', 2);
    await third.process.gone();
    await held.answered();
    await servesAlone(first, all);
  });

  it('takes charge when A is killed while it is stopped', async () => {
    const all = await three(way);
    const { first, second, third, held } = all;
    await stopped(first);
    second.process.signal('SIGKILL');
    await second.process.gone();
    first.process.signal('SIGKILL');
    await held.lost();
    await third.said('handover:in-charge');
    await servesAlone(third, all);
  });
});

describe('G4, G5: A drains, B is in charge', () => {
  it('and stops: A ends it and takes back, and C on probation ends', async () => {
    const all = await three('self', { stall: 300 });
    const { first, second, third, held } = all;
    await stopped(second);
    await first.said('handover:in-charge', 2);
    await third.process.gone();
    expect(second.process.alive()).toBe(false);
    await held.answered();
    await servesAlone(first, all);
  });

  it('and stops for a moment: nobody takes anything, and C is committed', async () => {
    const all = await three('standby');
    const { first, second, third, held } = all;
    await stopped(second);
    await new Promise((resolve) => setTimeout(resolve, 300));
    second.process.signal('SIGCONT');
    await second.run(commit);
    await third.said('handover:in-charge');
    expect(first.allSaid('handover:in-charge')).toHaveLength(1);
    await held.answered();
    await first.process.gone();
    await second.process.gone();
    await servesAlone(third, all);
  });

  it('and is killed when C has been committed: C stays in charge, A answers what is open, and ends', async () => {
    const all = await three('standby');
    const { first, second, third, held } = all;
    await second.run(commit);
    await third.said('handover:in-charge');
    second.process.signal('SIGKILL');
    await first.said('handover:failed');
    expect([await isInCharge(first), await isInCharge(third)]).toEqual([false, true]);
    await held.answered();
    await first.process.gone();
    expect(first.allSaid('handover:in-charge')).toHaveLength(1);
    await servesAlone(third, all);
  });

  it('and both B and C, which was committed, are killed: A is in charge again', async () => {
    const all = await three('standby');
    const { first, second, third, held } = all;
    await second.run(commit);
    await third.said('handover:in-charge');
    await stopped(first);
    second.process.signal('SIGKILL');
    third.process.signal('SIGKILL');
    await third.process.gone();
    first.process.signal('SIGCONT');
    await first.said('handover:in-charge', 2);
    await held.answered();
    await servesAlone(first, all);
  });

  it('and is killed on the next try, after one that failed at COMMIT: A is in charge, not the younger one', async () => {
    const all = await three('standby');
    const { family, first, second, third, held } = all;
    third.process.signal('SIGKILL');
    await second.said('handover:standby-lost');
    await third.process.gone();
    // Killed by COMMIT itself.
    await second.run(prepare);
    const fourth = await family.generation(4);
    await fourth.run(() => {
      const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
      subscribe('handover:frame', (frame) => {
        const { direction, name } = frame as { direction: string; name: string };
        if (direction === 'received' && name === 'COMMIT') process.kill(process.pid, 'SIGKILL');
      });
    });
    const failure = await second.run(({ kept }) =>
      (kept.standby as import('../../lib/index.js').Standby).commit().then(String, (error) => error.code),
    );
    expect(failure).toBe('ERR_HANDOVER_SUCCESSOR_EXITED');
    expect(await isInCharge(second)).toBe(true);
    await second.run(prepare);
    const fifth = await family.generation(5);
    second.process.signal('SIGKILL');
    await first.said('handover:in-charge', 2);
    await fifth.process.gone();
    expect(fifth.allSaid('handover:in-charge')).toEqual([]);
    await held.answered();
    await servesAlone(first, all, 6);
  });
});
