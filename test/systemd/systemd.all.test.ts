// A real systemd, the units of examples/systemd, clients that count: start, reload, crash, restart, stop.

import { once } from 'node:events';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { LOCALHOST, privateFolder, Visitors, visit } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { hasSystemd } from './systemd.js';
import { SERVER, UNIT, useInstalled } from './web.js';

expectNoLeaks();
const installed = useInstalled(usePrograms());

const isThere = hasSystemd();
// Loudly: the name of the tests says why they did not run.
const needs = isThere ? '' : ' (SKIPPED: needs root, systemd and mount namespaces)';
describe.skipIf(!isThere)(`under a real systemd${needs}`, () => {
  it('G1 G2: start, three reloads, a restart and a stop under load: 0 refused, 0 lost', async () => {
    const { systemd, target } = await installed();
    await systemd.systemctl('start', UNIT);
    const { StatusText } = await systemd.show(UNIT);
    expect(StatusText).toBe('generation 1 serves');
    const visitors = new Visitors(target);
    let main = await systemd.mainPid(UNIT);
    await visitors.answered(main, 20);

    for (let generation = 2; generation <= 4; generation++) {
      await systemd.systemctl('reload', UNIT);
      main = await systemd.mainPid(UNIT, main);
      await visitors.answered(main, 20);
    }
    expect(await systemd.show(UNIT)).toMatchObject({
      ActiveState: 'active',
      NRestarts: '0',
      StatusText: expect.stringMatching(/^generation 4/),
    });

    await systemd.systemctl('restart', UNIT);
    main = await systemd.mainPid(UNIT, main);
    await visitors.answered(main, 20);
    await visitors.stop();
    expect({ refused: visitors.refused, lost: visitors.lost }).toEqual({ refused: [], lost: [] });

    const slow = visit(target, '/slow');
    // Accepted before this one.
    expect(await visit(target)).toEqual({ pid: main });
    await systemd.systemctl('stop', UNIT);
    expect(await slow).toEqual({ pid: main });
    expect(await systemd.show(UNIT)).toMatchObject({ ActiveState: 'inactive', Result: 'success' });
    expect(await visit(target)).toMatchObject({ refused: expect.stringContaining('ECONNREFUSED') });
    await systemd.stop();
  });

  it('G2: restarted while a predecessor drains: what that has begun is answered, though SIGTERM comes to it, too', async () => {
    const { systemd, target, release } = await installed();
    const entry = new URL('../../dist/index.js', import.meta.url).href;
    release(`
      import { createServer } from 'node:http';
      import { serve } from ${JSON.stringify(entry)};
      const answer = (response) => response.setHeader('x-pid', process.pid).end(String(process.pid));
      const server = createServer((request, response) => {
        if (request.url === '/slow') setTimeout(answer, 4_000, response);
        else answer(response);
      });
      await serve(server, { port: Number(process.env.PORT), probation: { duration: 0 }, systemd: { fdstore: true } });
    `);
    await systemd.systemctl('start', UNIT);
    const first = await systemd.mainPid(UNIT);
    const slow = visit(target, '/slow');
    expect(await visit(target)).toEqual({ pid: first });
    await systemd.systemctl('reload', UNIT);
    const second = await systemd.mainPid(UNIT, first);
    await systemd.systemctl('restart', UNIT);
    expect(await slow).toEqual({ pid: first });
    const third = await systemd.mainPid(UNIT, second);
    expect(await visit(target)).toEqual({ pid: third });
    await systemd.stop();
  });

  it('G1: killed, also after a reload, it comes back with the stored socket: 0 refused, lost only what it owned', async () => {
    const { systemd, target } = await installed();
    await systemd.systemctl('start', UNIT);
    const visitors = new Visitors(target);
    let main = await systemd.mainPid(UNIT);
    await visitors.answered(main, 20);
    for (const reloads of [false, true]) {
      if (reloads) {
        await systemd.systemctl('reload', UNIT);
        main = await systemd.mainPid(UNIT, main);
        await systemd.when(UNIT, 'to be alone', ({ StatusText }) => StatusText === 'generation 2 serves');
        await visitors.answered(main, 20);
      }
      process.kill(main, 'SIGKILL');
      main = await systemd.mainPid(UNIT, main);
      await visitors.answered(main, 20);
    }
    await visitors.stop();
    expect(visitors.refused).toEqual([]);
    // Each visitor has one connection at a time.
    expect(visitors.lost.length).toBeLessThanOrEqual(2 * 4);
    expect(await systemd.show(UNIT)).toMatchObject({ NRestarts: '2', StatusText: 'generation 1 serves' });
    await systemd.stop();
  });

  it('G5 G8: a release that fails leaves the service as it was, and systemctl status says why', async () => {
    const { systemd, target, release } = await installed();
    await systemd.systemctl('start', UNIT);
    const main = await systemd.mainPid(UNIT);
    const visitors = new Visitors(target);
    release('process.exit(3);');
    await systemd.systemctl('reload', UNIT);
    await systemd.when(UNIT, 'to be active again', ({ ActiveState, StatusText = '' }) => {
      return ActiveState === 'active' && /^generation 1 serves: the handover failed: .*exit code 3/.test(StatusText);
    });
    expect(await systemd.show(UNIT)).toMatchObject({ MainPID: String(main), NRestarts: '0' });
    await visitors.answered(main, 10);
    await visitors.stop();
    expect({ refused: visitors.refused, lost: visitors.lost }).toEqual({ refused: [], lost: [] });
    await systemd.stop();
  });

  it('G5: a successor that dies while its predecessor drains: that one is the main process again', async () => {
    const { systemd, target } = await installed();
    await systemd.systemctl('start', UNIT);
    const main = await systemd.mainPid(UNIT);
    // Half a request keeps the predecessor.
    const half = connect(target);
    await once(half, 'connect');
    half.write('GET / HTTP/1.1\r\nHost: localhost\r\n');
    // The kernel has delivered it to the predecessor: a later request was answered.
    expect(await visit(target)).toEqual({ pid: main });
    await systemd.systemctl('reload', UNIT);
    const next = await systemd.mainPid(UNIT, main);
    const visitors = new Visitors(target);
    await visitors.answered(next, 10);
    process.kill(next, 'SIGKILL');
    expect(await systemd.mainPid(UNIT, next)).toBe(main);
    await visitors.answered(main, 10);
    half.end('Connection: close\r\n\r\n');
    expect(await text(half)).toContain(`x-pid: ${main}`);
    await visitors.stop();
    expect(visitors.refused).toEqual([]);
    expect(visitors.lost.length).toBeLessThanOrEqual(4);

    await systemd.systemctl('reload', UNIT);
    const third = await systemd.mainPid(UNIT, main);
    expect(await visit(target)).toEqual({ pid: third });
    expect(await systemd.show(UNIT)).toMatchObject({ NRestarts: '0' });
    await systemd.stop();
  });

  it('a reload starts the release that `current` leads to by then', async () => {
    const root = privateFolder();
    const current = join(root, 'current');
    const switchTo = (name: string): void => {
      mkdirSync(join(root, name));
      writeFileSync(join(root, name, 'release.mjs'), `console.error('${name}'); await import('${SERVER.href}');`);
      rmSync(current, { force: true });
      symlinkSync(name, current);
    };
    switchTo('a');
    const { systemd, log } = await installed(`WorkingDirectory=${current}\nEnvironment=PWD=${current}`);
    await systemd.systemctl('start', UNIT);
    const main = await systemd.mainPid(UNIT);
    switchTo('b');
    await systemd.systemctl('reload', UNIT);
    await systemd.mainPid(UNIT, main);
    expect(
      log()
        .split('\n')
        .filter((line) => line === 'a' || line === 'b'),
    ).toEqual(['a', 'b']);
    await systemd.stop();
  });

  it('G1: web.socket: started by its first client, whose socket is claimed by name', async () => {
    const { systemd, target, log } = await installed();
    await systemd.install('web.socket', `[Socket]\nListenStream=\nListenStream=${LOCALHOST}:${target.port}\n`);
    await systemd.systemctl('start', 'web.socket');
    const first = await visit(target);
    const main = await systemd.mainPid(UNIT);
    expect(first).toEqual({ pid: main });
    await systemd.systemctl('reload', UNIT);
    const next = await systemd.mainPid(UNIT, main);
    expect(await visit(target)).toEqual({ pid: next });
    expect(log()).toMatch(/^handover\[\d+\]: activated tcp:\/\/\*:\d+ as "web"/);
    await systemd.stop();
  });

  it('G5: npm start as the main process of a unit that cannot be told: refused by its name, and serves on', async () => {
    const { systemd, target, release, dropIn, read } = await installed();
    const entry = new URL('../../dist/index.js', import.meta.url).href;
    release(`
      import { createServer } from 'node:http';
      import { serve } from ${JSON.stringify(entry)};
      const server = createServer((request, response) => response.setHeader('x-pid', process.pid).end('hello'));
      await serve(server, { port: Number(process.env.PORT), probation: { duration: 0 } });
    `);
    const folder = /WorkingDirectory=(.*)/.exec(dropIn)?.[1] ?? '';
    const scripts = { start: `${process.execPath} release.mjs` };
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', scripts }));
    const npm = `Type=simple\nNotifyAccess=none\nFileDescriptorStoreMax=0\nWatchdogSec=0\nEnvironment=HOME=${folder}\nExecStart=\nExecStart=npm start`;
    await systemd.install(UNIT, `${dropIn}\n${npm}\n`);
    await systemd.systemctl('start', UNIT);
    const main = await systemd.mainPid(UNIT);
    let server = await visit(target);
    // Type=simple: the unit is active before the server listens.
    while (!('pid' in server)) server = await visit(target);
    expect(server).not.toEqual({ pid: main });
    process.kill(server.pid, 'SIGUSR2');
    await systemd.when(UNIT, 'to refuse', () => read('log').includes('the handover failed'));
    expect(read('log')).toMatch(
      new RegExp(`handover failed in PREPARE: this process is kept by pid ${main} \\(npm start\\): systemd ends`),
    );
    expect(await visit(target)).toEqual(server);
    await systemd.systemctl('stop', UNIT);
    await systemd.stop();
  });
});
