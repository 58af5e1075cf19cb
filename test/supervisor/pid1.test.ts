// `handover run` as pid 1 of a container: a pid namespace of its own.
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { commandOf } from '../helpers/processes.js';
import { type Program, usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { askOnce, childrenOf, expectUnharmed, fixture, keepAlive } from './running.js';

expectNoLeaks();
const { start } = usePrograms();
const UNSHARE = ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc', '--kill-child'];
const mayUnshare = spawnSync('unshare', [...UNSHARE, 'true']).status === 0;

interface Container {
  /** `unshare`, which ends as pid 1 does. */
  readonly outside: Program;
  readonly port: number;
  /** As seen from here. */
  readonly pid1: number;
}

async function container(args: readonly string[]): Promise<Container> {
  const port = freePort();
  const outside = start(new URL('./fixtures/in-container.mjs', import.meta.url), {
    args: [
      'unshare',
      ...UNSHARE,
      process.execPath,
      fixture('run.mjs'),
      '--settle',
      '0',
      '--',
      process.execPath,
      ...args,
    ],
    env: { PORT: String(port) },
  });
  await outside.errorLine(/worker serves \(pid 1\)/);
  const pid1 = await until(() => childrenOf(childrenOf(outside.pid)[0] ?? 0)[0], { what: 'pid 1' });
  return { outside, port, pid1 };
}

describe.skipIf(!mayUnshare)('handover run as pid 1', () => {
  it('G7: reaps orphans, and leaves to Node whose end Node waits for', async () => {
    const { outside, port, pid1 } = await container([fixture('orphans.mjs')]);
    const traffic = keepAlive(port, 2);
    // Each leaves an orphan behind that ends at once, while workers come and go.
    const orphans = keepAlive(port, 3, ['/orphan']);
    for (let i = 0; i < 3; i++) {
      process.kill(pid1, 'SIGUSR2');
      await outside.errorLine(/worker 0 is pid \d+ now/, 20_000);
    }
    await expectUnharmed(orphans);
    expect(orphans.load.total).toBeGreaterThan(10);
    await until(() => childrenOf(pid1).length === 1, { what: 'orphans and old workers to be reaped' });
    const [worker = 0] = childrenOf(pid1);
    expect(commandOf(worker)).toContain('orphans.mjs');
    await expectUnharmed(traffic);
    // Its end is not stolen: it comes back.
    process.kill(worker, 'SIGKILL');
    await outside.errorLine(/ended with SIGKILL/);
    await until(() => childrenOf(pid1).some((pid) => pid !== worker), { what: 'a new worker' });
    expect(await askOnce(port)).toBeGreaterThan(1);
    process.kill(pid1, 'SIGTERM');
    expect(await outside.exit()).toEqual({ code: 0, signal: null });
  }, 60_000);

  it('passes signals on to the workers', async () => {
    const { outside, pid1 } = await container([fixture('orphans.mjs')]);
    process.kill(pid1, 'SIGWINCH');
    await outside.line(/worker got SIGWINCH/);
    process.kill(pid1, 'SIGINT');
    expect(await outside.exit()).toEqual({ code: 0, signal: null });
  }, 30_000);
});

if (!mayUnshare) process.stderr.write('SKIPPED: no pid namespace may be made here, pid 1 was not tested\n');
