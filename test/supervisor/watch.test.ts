// `handover run --watch`: a handover at every save.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { EXAMPLE, expectUnharmed, keepAlive, release, running, stop } from './running.js';

expectNoLeaks();
const { start } = usePrograms();

describe('handover run --watch', () => {
  it('G5: hands over at a save, once for a burst; a syntax error is printed and leaves the old one serving', async () => {
    const root = release();
    const entry = join(root, 'server.mjs');
    const app = await running(start, ['--watch'], { command: ['server.mjs'], cwd: root, settle: 0 });
    const traffic = keepAlive(app.port, 4);
    const [first = 0] = app.workers();
    writeFileSync(join(root, 'access.log'), 'not a source');
    writeFileSync(join(root, 'node_modules', 'x.js'), 'not mine');
    writeFileSync(entry, 'this is no JavaScript');
    await app.supervisor.errorLine(/replacing the workers: server.mjs was saved/);
    await app.supervisor.errorLine(/SyntaxError/);
    await app.supervisor.errorLine(/the roll paused/);
    await traffic.load.answered(first, 5);
    expect(app.workers()).toEqual([first]);
    for (let save = 0; save < 5; save++) cpSync(EXAMPLE, entry);
    await app.supervisor.errorLine(/replacing the workers: server.mjs was saved/);
    const [, pid] = await app.supervisor.errorLine(/worker 0 is pid (\d+) now/, 20_000);
    await traffic.load.answered(Number(pid), 5);
    mkdirSync(join(root, 'lib', 'new'), { recursive: true });
    writeFileSync(join(root, 'lib', 'new', 'part.mjs'), 'export {};');
    await app.supervisor.errorLine(/replacing the workers: lib\/new\/part.mjs was saved/);
    await app.supervisor.errorLine(/worker 0 is pid (\d+) now/, 20_000);
    await expectUnharmed(traffic);
    expect(app.supervisor.stderr.match(/was saved/g)).toHaveLength(3);
    await stop(app);
  }, 60_000);
});
