// Takeover across pid and mount namespaces: between containers that share a folder, and between one and its host.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { LOCALHOST, privateFolder, Visitors } from './engine.js';

expectNoLeaks();
const { start } = usePrograms();
const SERVER = new URL('fixtures/contained.mjs', import.meta.url);
const canUnshare = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0;
// Loudly: the name of the tests says why they did not run.
const needs = canUnshare ? '' : ' (SKIPPED: needs unshare)';

interface InCharge {
  readonly generation: number;
  /** In its own namespace. */
  readonly pid: number;
  readonly port: number;
}

describe('G1, G2: takeover', () => {
  it.skipIf(!canUnshare).each([
    ['from a process of the host to one in a container', 'no', 'yes'],
    ['from a process in a container to one of the host', 'yes', 'no'],
    ['from one container to another', 'yes', 'yes'],
  ] as const)(`%s, neither of which can see the other${needs}`, async (_name, from, to) => {
    const env = { TAKEOVER: join(privateFolder(), 'handover.sock') };
    const old = start(SERVER, { env: { ...env, CONTAINED: from } });
    const first = await old.message<InCharge>('in-charge');
    expect(first.pid === 1).toBe(from === 'yes');
    const visitors = new Visitors({ port: first.port, host: LOCALHOST });
    await visitors.answered(first.pid, 10);
    const young = start(SERVER, { env: { ...env, CONTAINED: to } });
    const second = await young.message<InCharge>('in-charge');
    expect(second).toMatchObject({ generation: 2, port: first.port });
    expect(await old.exit()).toEqual({ code: 0, signal: null });
    await visitors.answered(second.pid, 10);
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    young.tell({ type: 'close' });
    expect(await young.exit()).toEqual({ code: 0, signal: null });
    expect(existsSync(env.TAKEOVER)).toBe(false);
  });
});
