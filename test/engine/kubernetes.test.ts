// The example manifests, played on this machine: pods as sets of namespaces, a kubelet that probes, execs and terminates.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { type Program, usePrograms } from '../helpers/programs.js';
import { LOCALHOST, privateFolder, Visitors, visit } from './engine.js';
import { Kubelet, probe } from './probes.js';

expectNoLeaks();
const { start } = usePrograms();
const POD = new URL('fixtures/pod.mjs', import.meta.url);
const NAMESPACES = ['--pid', '--fork', '--mount', '--mount-proc', '--ipc', '--uts'];
const canUnshare = spawnSync('unshare', [...NAMESPACES, 'mount', '-t', 'tmpfs', 'tmpfs', '/run']).status === 0;
// Loudly: the name of the tests says why they did not run.
const needs = canUnshare ? '' : ' (SKIPPED: needs unshare)';

async function ports(): Promise<{ readonly PORT: string; readonly HEALTH_PORT: string }> {
  const [port, health] = [freePort(), freePort()];
  return { PORT: String(port), HEALTH_PORT: String(health) };
}

describe.skipIf(!canUnshare)(`a DaemonSet on the network of the host${needs}`, () => {
  it('G1, G2: each new pod takes over from the old one; probes and clients see nothing', async () => {
    const SHARED = privateFolder();
    const { PORT, HEALTH_PORT } = await ports();
    const env = { PORT, HEALTH_PORT, SHARED, TAKEOVER: '/run/handover/takeover.sock' };
    const kubelet = new Kubelet(Number(HEALTH_PORT), ({ generation }) => generation as number);
    let old: Program | undefined;
    let visitors: Visitors | undefined;
    for (const generation of [1, 2, 3]) {
      const young = start(POD, { env });
      await kubelet.answeredBy(generation);
      visitors ??= new Visitors({ port: Number(PORT), host: LOCALHOST });
      // In its namespace each server is pid 1.
      await visitors.answered(1, 10);
      if (old) {
        await old.line(/^generation \d has drained$/);
        // Superseded, and still there until the kubelet ends it (fixtures/pod.mjs), also after a while.
        await visitors.answered(1, 400);
        old.tell({ type: 'terminate' });
        expect(await old.exit()).toEqual({ code: 0, signal: null });
        await visitors.answered(1, 10);
      }
      old = young;
    }
    await kubelet.stop();
    await visitors?.stop();
    expect([visitors?.refused, visitors?.lost]).toEqual([[], []]);
    expect([kubelet.failed, kubelet.unready]).toEqual([[], []]);
    expect(existsSync(join(SHARED, 'takeover.sock'))).toBe(true);
    old?.tell({ type: 'terminate' });
    expect(await old?.exit()).toEqual({ code: 0, signal: null });
    expect(existsSync(join(SHARED, 'takeover.sock'))).toBe(false);
  });
});

describe.skipIf(!canUnshare)(`a Deployment${needs}`, () => {
  it('G2: preStop makes the pod not ready, serves until the load balancers know, and drains it', async () => {
    const { PORT, HEALTH_PORT } = await ports();
    const CONTROL = '/run/handover/control.sock';
    const pod = start(POD, { env: { PORT, HEALTH_PORT, CONTROL, HANDOVER_CONTROL: CONTROL } });
    const kubelet = new Kubelet(Number(HEALTH_PORT));
    await kubelet.answeredBy(1);
    await kubelet.stop();
    pod.tell({ type: 'exec', args: ['drain', '--delay', '2', '--json'] });
    const target = { port: Number(PORT), host: LOCALHOST };
    for (let answer = await probe(Number(HEALTH_PORT)); answer.status !== 503; )
      answer = await probe(Number(HEALTH_PORT));
    expect(await visit(target)).toEqual({ pid: 1 });
    const { code, stdout } = await pod.message<{ code: number; stdout: string }>('executed');
    expect(code).toBe(0);
    expect(stdout).toMatch(/"NOT_READY".*\n.*"DRAIN".*\n.*"drained".*\n$/);
    expect(await visit(target)).toHaveProperty('refused');
    pod.tell({ type: 'terminate' });
    expect(await pod.exit()).toEqual({ code: 0, signal: null });
  });
});
