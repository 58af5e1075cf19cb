// Signals and calls at awkward moments, with `serve()`: each ends in a state that is the right one.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type App, boot, useApps } from '../handover/apps.js';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, privateFolder, server, stopped, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const { chain } = useApps();

/** What `serve()` makes of it: it handles SIGUSR2 and SIGTERM, and exits. */
const served = (options: object = {}) =>
  boot(async (inside, given) => {
    const web = inside.create('http');
    inside.handover = await inside.lib.serve(web, { port: 0, host: '127.0.0.1', probation: { duration: 0 }, ...given });
    inside.say('listening', { address: web.address() });
  }, options);

/** It never comes so far. */
const loads = boot(async (inside) => {
  inside.say('loading');
  await new Promise((resolve) => setTimeout(resolve, 60_000));
});

const inCharge = (app: App): Promise<unknown> => app.said('handover:in-charge');

async function end(app: App): Promise<void> {
  app.process.signal('SIGTERM');
  await app.process.gone();
}

describe('G5: signals', () => {
  it('SIGUSR2 twice: one handover', async () => {
    const { chain: processes, first } = await chain(served({ probation: { duration: 300 } }));
    const visitors = new Visitors(await targetOf(first));
    first.process.signal('SIGUSR2');
    first.process.signal('SIGUSR2');
    // Two signals that came close enough are one to the kernel: one that surely is another.
    await first.said('handover:phase');
    first.process.signal('SIGUSR2');
    expect(await first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_IN_PROGRESS', stillServing: true });
    const second = await processes.generation(2);
    await inCharge(second);
    expect(await processes.program.exit()).toEqual({ code: 0, signal: null });
    await visitors.answered(second.pid, 5);
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    await end(second);
  });

  it('SIGUSR2 to a successor that is still loading ends it, and its predecessor serves', async () => {
    const { chain: processes, first } = await chain([served(), loads]);
    const target = await targetOf(first);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.said('loading');
    // No handler is there yet: it dies of it (FACTS P2).
    second.process.signal('SIGUSR2');
    expect(await first.said('handover:failed')).toMatchObject({
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      phase: 'PREPARE',
    });
    expect(await visit(target)).toEqual({ pid: first.pid });
    await end(first);
  });

  it('SIGUSR2 to a successor on probation: not yet, and the handover goes on', async () => {
    const { chain: processes, first } = await chain(served({ probation: { duration: 800 } }));
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.booted;
    second.process.signal('SIGUSR2');
    expect(await second.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_NOT_READY' });
    await inCharge(second);
    await first.process.gone();
    await end(second);
  });

  it('SIGTERM to the predecessor while it drains: it goes on draining, and ends', async () => {
    const { chain: processes, first } = await chain(served());
    const client = new HttpConnection(await targetOf(first));
    const held = client.request('/hold');
    await first.said('held');
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await first.said('handover:superseded');
    first.process.signal('SIGTERM');
    await first.run(
      ({ servers }) => new Promise<void>((resolve) => setTimeout(() => resolve(servers.http?.release()), 100)),
    );
    expect((await held).pid).toBe(first.pid);
    client.close();
    expect(await processes.program.exit()).toEqual({ code: 0, signal: null });
    expect(await visit(await targetOf(second))).toEqual({ pid: second.pid });
    expect(second.process.alive()).toBe(true);
    await end(second);
  });

  it('SIGTERM to the one in charge while its predecessor drains: nobody takes anything back', async () => {
    const { chain: processes, first } = await chain(served());
    const client = new HttpConnection(await targetOf(first));
    const held = client.request('/hold');
    await first.said('held');
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await inCharge(second);
    await first.said('handover:superseded');
    second.process.signal('SIGTERM');
    await second.process.gone();
    expect(await first.run(({ handover }) => handover.isInCharge)).toBe(false);
    expect(await visit(await targetOf(first))).toMatchObject({ refused: expect.stringContaining('ECONNREFUSED') });
    await first.run(({ servers }) => servers.http?.release());
    expect((await held).pid).toBe(first.pid);
    // With nobody to move to, the answer said that the connection ends: the client does not try it again.
    await expect(client.request('/')).rejects.toThrow('ECONNREFUSED');
    expect(client.opened).toBe(2);
    expect(await processes.program.exit()).toEqual({ code: 0, signal: null });
    client.close();
    expect(first.allSaid('handover:failed')).toEqual([]);
  });

  it('SIGTERM to a successor on probation: its predecessor serves', async () => {
    const { chain: processes, first } = await chain(served({ probation: { duration: 5_000 } }));
    const target = await targetOf(first);
    first.process.signal('SIGUSR2');
    const second = await processes.generation(2);
    await second.booted;
    await end(second);
    expect(await first.said('handover:failed')).toMatchObject({ stillServing: true });
    expect(await visit(target)).toEqual({ pid: first.pid });
    await end(first);
  });
});

it('an upgrade during a shutdown is refused, and the shutdown goes on', async () => {
  const { chain: processes, first } = await chain(server());
  const client = new HttpConnection(await targetOf(first));
  const held = client.request('/hold');
  await first.said('held');
  await first.run(({ handover }) => void handover.close());
  expect(await failureOf(first)).toMatchObject({ code: 'ERR_HANDOVER_CLOSED', stillServing: false });
  await first.run(({ servers }) => servers.http?.release());
  expect((await held).pid).toBe(first.pid);
  client.close();
  expect(await processes.program.exit()).toEqual({ code: 0, signal: null });
});

describe('clocks', () => {
  it('a wall clock that jumps, forward and back, changes nothing', async () => {
    const jumps = join(privateFolder(), 'jumps.mjs');
    // An hour to and fro, at every second look.
    writeFileSync(
      jumps,
      `const now = Date.now; let count = 0;
       Date.now = () => now() + (count++ % 2 === 0 ? 3_600_000 : -3_600_000);
       const { Date: Real } = globalThis;
       globalThis.Date = class extends Real { constructor(...args) { super(...(args.length ? args : [Real.now()])); } };`,
    );
    const options = { probation: { duration: 500, stallTimeout: 300 } };
    const { chain: processes, first } = await chain(server({ options }), {
      execArgv: ['--import', pathToFileURL(jumps).href],
    });
    const visitors = new Visitors(await targetOf(first));
    const { phases, pid } = await first.upgrade();
    for (const { durationMs } of phases) {
      expect(durationMs).toBeGreaterThanOrEqual(0);
      expect(durationMs).toBeLessThan(10_000);
    }
    await first.process.gone();
    await visitors.answered(pid, 10);
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    await (await processes.generation(2)).close();
  });

  it('G5: a predecessor that is stopped while it drains finds its successor healthy', async () => {
    const { chain: processes, first } = await chain(
      server({ options: { probation: { duration: 0, stallTimeout: 200 } } }),
    );
    const client = new HttpConnection(await targetOf(first));
    const held = client.request('/hold');
    await first.said('held');
    const { pid } = await first.upgrade();
    await stopped(first);
    // Longer than a successor in charge may be silent.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    first.process.signal('SIGCONT');
    await first.run(({ servers }) => servers.http?.release());
    expect((await held).pid).toBe(first.pid);
    client.close();
    await first.process.gone();
    expect(first.allSaid('handover:failed')).toEqual([]);
    const second = await processes.generation(2);
    expect(second.pid).toBe(pid);
    expect(await second.run(({ handover }) => handover.isInCharge)).toBe(true);
    await second.close();
  });
});
