// examples/systemd/web-workers.service in a real systemd: `handover run` as the main process of a unit.
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { LOCALHOST, Visitors, visit } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { usePrograms } from '../helpers/programs.js';
import { childrenOf, expectUnharmed, keepAlive, release, temporary } from '../supervisor/running.js';
import { hasSystemd, type Properties, Systemd } from './systemd.js';

expectNoLeaks();
const programs = usePrograms();

const isThere = hasSystemd();
// Loudly: the name of the tests says why they did not run.
const needs = isThere ? '' : ' (SKIPPED: needs root, systemd and mount namespaces)';
const UNIT = 'web-workers.service';
const EXAMPLES = fileURLToPath(new URL('../../examples/systemd/', import.meta.url));

interface Installed {
  readonly systemd: Systemd;
  readonly target: { readonly port: number; readonly host: string };
  /** Has `current` lead to another release, whose program this is, or else the example. */
  readonly switchTo: (name: string, program?: string) => void;
  /** What the service wrote to stderr. */
  readonly log: () => string;
}

/** The unit with the paths, the port and the number of workers of this test; all else as it is. */
async function installed(): Promise<Installed> {
  const target = { port: freePort(), host: LOCALHOST };
  const root = temporary();
  const current = join(root, 'current');
  const switchTo = (name: string, program?: string): void => {
    const folder = release(join(root, name));
    mkdirSync(join(folder, 'node_modules', '.bin'));
    symlinkSync('../handover/dist/cli/main.js', join(folder, 'node_modules', '.bin', 'handover'));
    cpSync(join(EXAMPLES, 'server.mjs'), join(folder, 'server.mjs'));
    if (program !== undefined) writeFileSync(join(folder, 'server.mjs'), program);
    rmSync(`${current}.new`, { force: true });
    symlinkSync(name, `${current}.new`);
    renameSync(`${current}.new`, current);
  };
  switchTo('a');
  const systemd = await Systemd.start(programs);
  const unit = readFileSync(join(EXAMPLES, UNIT), 'utf8');
  const lines = unit.split('\n').filter((line) => /^(WorkingDirectory|Environment|ExecStart)=/.test(line));
  const service = lines
    .join('\n')
    .replace('ExecStart=', 'ExecStart=\nExecStart=')
    .replaceAll('/srv/web/current', current)
    .replaceAll('/usr/bin/node', process.execPath)
    .replace('--workers auto', '--workers 2 --settle 200')
    .replace('0.0.0.0:8080', `${LOCALHOST}:${target.port}`);
  await systemd.install(UNIT, `[Service]\n${service}\nStandardError=append:${join(root, 'log')}\n`);
  return { systemd, target, switchTo, log: () => readFileSync(join(root, 'log'), 'utf8') };
}

/** Resolves when the service says that it serves so many times replaced, or whatever else follows. */
function serves(systemd: Systemd, text: RegExp): Promise<Properties> {
  return systemd.when(UNIT, `to say ${text}`, (properties) => {
    return properties.ActiveState === 'active' && text.test(properties.StatusText ?? '') && properties;
  });
}

describe.skipIf(!isThere)(`handover run under a real systemd${needs}`, () => {
  it('G1 G2 G3: start, two reloads, a release that fails, stop: 0 refused, 0 lost, 0 closed; the main process stays', async () => {
    const { systemd, target, switchTo } = await installed();
    await systemd.systemctl('start', UNIT);
    expect((await systemd.show(UNIT)).StatusText).toBe('generation 1 serves');
    const main = await systemd.mainPid(UNIT);
    const traffic = keepAlive(target.port, 12);
    const visitors = new Visitors(target, 2);
    let workers = childrenOf(main);
    expect(workers).toHaveLength(2);

    for (const [name, generation] of [['b', 2] as const, ['c', 3] as const]) {
      const before = workers;
      switchTo(name);
      await systemd.systemctl('reload', UNIT);
      await serves(systemd, new RegExp(`^generation ${generation} serves`));
      // Also those that drained have gone.
      workers = await systemd.when(UNIT, 'to have two new workers', () => {
        const now = childrenOf(main);
        return now.length === 2 && !now.some((pid) => before.includes(pid)) && now;
      });
      await visitors.answered(workers[0] as number, 1);
    }
    expect(await systemd.show(UNIT)).toMatchObject({ MainPID: String(main), NRestarts: '0', ActiveState: 'active' });

    switchTo('d', 'process.exit(3);');
    await systemd.systemctl('reload', UNIT);
    await serves(systemd, /^generation 3 serves: .*exit code 3/);
    expect(childrenOf(main)).toEqual(workers);
    await expectUnharmed(traffic);
    await visitors.stop();
    expect({ refused: visitors.refused, lost: visitors.lost }).toEqual({ refused: [], lost: [] });

    const slow = visit(target, '/slow');
    // Accepted before this one.
    await visit(target);
    await systemd.systemctl('stop', UNIT);
    expect(await slow).toEqual({ pid: expect.toBeOneOf(workers) });
    expect(await systemd.show(UNIT)).toMatchObject({ ActiveState: 'inactive', Result: 'success', ExecMainStatus: '0' });
    expect(await visit(target)).toMatchObject({ refused: expect.stringContaining('ECONNREFUSED') });
    await systemd.stop();
  });

  it('G1 G2: the supervisor killed, also after a reload, and a restart: the stored socket comes back, 0 refused, 0 lost', async () => {
    const { systemd, target, log } = await installed();
    await systemd.systemctl('start', UNIT);
    const visitors = new Visitors(target);
    let main = await systemd.mainPid(UNIT);
    const next = async (): Promise<void> => {
      main = await systemd.mainPid(UNIT, main);
      await visitors.answered(childrenOf(main)[0] as number, 5);
    };
    process.kill(main, 'SIGKILL');
    await next();
    await systemd.systemctl('reload', UNIT);
    await serves(systemd, /^generation 2 serves/);
    process.kill(main, 'SIGKILL');
    await next();
    expect(await systemd.show(UNIT)).toMatchObject({ NRestarts: '2', NFileDescriptorStore: '1' });
    await systemd.systemctl('restart', UNIT);
    await next();
    await visitors.stop();
    // The workers finish what they have begun.
    expect({ refused: visitors.refused, lost: visitors.lost }, log()).toEqual({ refused: [], lost: [] });
    await systemd.systemctl('stop', UNIT);
    expect(await systemd.show(UNIT)).toMatchObject({ ActiveState: 'inactive', Result: 'success' });
    await systemd.stop();
  });
});
