// G4, G5: either process is killed or stopped in the middle of a batch. Every connection is served by exactly one process;
// lost is only what the dead one alone owned.
import { describe, expect, it } from 'vitest';
import { type App, type Chain, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { untilStopped } from '../helpers/processes.js';
import {
  answeredBy,
  type Drained,
  generation,
  idle,
  portOf,
  release,
  type Setting,
  type Strike,
} from './generations.js';
import { Wire } from './wire.js';

expectNoLeaks();
const { chain } = useApps();

/** Two batches: 64 and 36. */
const COUNT = 100;
const FIRST_BATCH = 64;
const all = (count: number, pid: number): number[] => Array(count).fill(pid);
const server = { keepAliveTimeout: 60_000 };

async function start(
  first: Setting,
  second: Setting,
): Promise<{ processes: Chain; first: App; clients: Wire[]; busy: Wire; upgrading: Promise<unknown> }> {
  const { chain: processes, first: app } = await chain([
    generation({ server, ...first }),
    generation({ server, ...second }),
    generation({ server }),
  ]);
  const clients = await idle(app, COUNT);
  // Keeps the predecessor from retiring as soon as the last GO is out.
  const busy = new Wire(await portOf(app)).get('/hold');
  await app.said('held');
  const upgrading = app.upgrade().catch((error: unknown) => error);
  return { processes, first: app, clients, busy, upgrading };
}

/** Asks all of them: the pids that answered, and how many connections had been lost. */
async function survey(clients: readonly Wire[]): Promise<{ pids: number[]; lost: number }> {
  const answers = await Promise.all(
    clients.map((client, i) => client.ask(`/survey/${i}`).catch((error: Error) => error.message)),
  );
  const pids = answers.flatMap((answer) => (typeof answer === 'string' ? [] : [answer.pid]));
  for (const answer of answers) {
    if (typeof answer === 'string') expect(answer).toMatch(/^(closed|ECONNRESET|EPIPE) after 0 bytes/);
  }
  expect(clients.filter(({ pending }) => pending > 0)).toEqual([]);
  return { pids, lost: answers.length - pids.length };
}

/** The busy one is answered by the process that has it, and is served on. */
async function expectBusy(first: App, busy: Wire, owner: App): Promise<void> {
  await release(first);
  expect(await busy.response()).toMatchObject({ pid: first.pid });
  if (owner !== first) {
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: COUNT + 1, cut: 0 });
    await first.gone();
  }
  expect(await answeredBy([busy])).toEqual([owner.pid]);
  busy.close();
}

async function end(app: App, clients: readonly Wire[]): Promise<void> {
  for (const client of clients) client.close();
  await app.close();
}

describe.runIf(process.platform === 'linux')('the successor', () => {
  it.each<[string, Strike]>([
    ['before it holds the first batch', { direction: 'received', name: 'OFFER', signal: 'SIGKILL' }],
    ['before it holds the second', { direction: 'received', name: 'OFFER', nth: 2, signal: 'SIGKILL' }],
    ['before it says HELD', { direction: 'sent', name: 'HELD', signal: 'SIGKILL' }],
  ])('G5: killed %s: nothing that was not given is lost, the predecessor serves on', async (_, strike) => {
    const { first, clients, busy } = await start({}, { strike });
    expect(await first.said('handover:failed')).toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      stillServing: true,
    });
    await first.said('handover:in-charge', 2);
    const { pids, lost } = await survey(clients);
    expect(new Set(pids)).toEqual(new Set(pids.length > 0 ? [first.pid] : []));
    // HELD of the first batch may be out when the second arrives.
    expect(strike.nth === 2 ? [0, FIRST_BATCH] : [0]).toContain(lost);
    await expectBusy(first, busy, first);
    await end(first, clients);
  });

  it('G5: killed at GO: lost are whole batches it was given, the rest is served', async () => {
    const strike: Strike = { direction: 'received', name: 'GO', signal: 'SIGKILL' };
    const { first, clients, busy } = await start({}, { strike });
    await first.said('handover:in-charge', 2);
    const { pids, lost } = await survey(clients);
    expect([FIRST_BATCH, COUNT]).toContain(lost);
    expect(pids).toEqual(all(COUNT - lost, first.pid));
    await expectBusy(first, busy, first);
    await end(first, clients);
  });

  it.each<[string, Strike]>([
    ['at OFFER', { direction: 'received', name: 'OFFER', signal: 'SIGSTOP' }],
    ['at HELD', { direction: 'sent', name: 'HELD', signal: 'SIGSTOP' }],
    ['at GO', { direction: 'received', name: 'GO', signal: 'SIGSTOP' }],
  ])('G4: stopped %s and continued: what was asked meanwhile is answered once, by it', async (_, strike) => {
    const { processes, first, clients, busy } = await start({}, { strike });
    const second = await processes.generation(2);
    await untilStopped(second.pid);
    const answers = answeredBy(clients, '/meanwhile');
    // All that is to reach the predecessor has, if anything does.
    await first.run(async () => new Promise((resolve) => setTimeout(resolve, 50)));
    expect(first.allSaid('request').filter((url) => String(url).startsWith('/meanwhile'))).toEqual([]);
    second.process.signal('SIGCONT');
    expect(await answers).toEqual(all(COUNT, second.pid));
    await expectBusy(first, busy, second);
    await end(second, clients);
  });

  it('G4, G5: stopped at OFFER and never continued: it is ended first, then everything is taken back', async () => {
    const strike: Strike = { direction: 'received', name: 'OFFER', signal: 'SIGSTOP' };
    const { processes, first, clients, busy } = await start(
      { handover: { probation: { duration: 0, stallTimeout: 200 } } },
      { strike },
    );
    const second = await processes.generation(2);
    await untilStopped(second.pid);
    const answers = answeredBy(clients, '/meanwhile');
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_TIMEOUT', stillServing: true });
    await second.gone();
    expect(await answers).toEqual(all(COUNT, first.pid));
    await expectBusy(first, busy, first);
    await end(first, clients);
  });
});

describe.runIf(process.platform === 'linux')('the predecessor', () => {
  it.each<[string, Strike, number]>([
    ['before it sends the second OFFER', { direction: 'sent', name: 'OFFER', nth: 2, signal: 'SIGKILL' }, 36],
    ['at HELD', { direction: 'received', name: 'HELD', signal: 'SIGKILL' }, 0],
    ['at the second HELD', { direction: 'received', name: 'HELD', nth: 2, signal: 'SIGKILL' }, 0],
    ['before it sends GO', { direction: 'sent', name: 'GO', signal: 'SIGKILL' }, 0],
  ])('G4: killed %s: the successor serves what it holds', async (_, strike, expected) => {
    const { processes, clients, busy, upgrading } = await start({ strike }, {});
    await upgrading;
    const second = await processes.generation(2);
    const { pids, lost } = await survey(clients);
    expect([lost, pids]).toEqual([expected, all(COUNT - expected, second.pid)]);
    // It was the dead one's alone.
    expect(await busy.ended()).toMatch(/closed|ECONNRESET/);
    busy.close();
    await end(second, clients);
  });

  it.each<[string, Strike]>([
    ['between two batches', { direction: 'sent', name: 'OFFER', nth: 2, signal: 'SIGSTOP' }],
    ['at HELD', { direction: 'received', name: 'HELD', signal: 'SIGSTOP' }],
    ['at GO', { direction: 'sent', name: 'GO', signal: 'SIGSTOP' }],
  ])('G4: stopped %s and continued: what was asked meanwhile is answered once', async (_, strike) => {
    const { processes, first, clients, busy, upgrading } = await start({ strike }, {});
    await untilStopped(first.pid);
    const second = await processes.generation(2);
    const answers = answeredBy(clients, '/meanwhile');
    await second.run(async () => new Promise((resolve) => setTimeout(resolve, 50)));
    const early = second.allSaid('request').length;
    expect([0, FIRST_BATCH]).toContain(early);
    first.process.signal('SIGCONT');
    await upgrading;
    expect(await answers).toEqual(all(COUNT, second.pid));
    await expectBusy(first, busy, second);
    await end(second, clients);
  });
});

it('G5: a successor that dies after the moves: what it owned is lost and named, the rest goes on and moves the next time', async () => {
  const { chain: processes, first } = await chain([
    generation({ server }),
    generation({ server }),
    generation({ server }),
  ]);
  const moved = await idle(first, 4);
  const busy = new Wire(await portOf(first)).get('/hold');
  await first.said('held');
  await first.upgrade();
  const second = await processes.generation(2);
  expect(await answeredBy(moved)).toEqual(all(4, second.pid));
  second.process.signal('SIGKILL');
  await first.said('handover:in-charge', 2);
  expect(await Promise.all(moved.map((client) => client.ended()))).toHaveLength(4);
  await release(first);
  expect((await busy.response()).pid).toBe(first.pid);
  expect(await answeredBy([busy])).toEqual([first.pid]);
  await first.upgrade();
  expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 1, cut: 0 });
  await first.gone();
  const third = await processes.generation(3);
  expect(await answeredBy([busy])).toEqual([third.pid]);
  await end(third, [busy, ...moved]);
});
