// A handover where descriptors are short, on either side, and where there are very many of them.
import net from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { boot, useApps } from '../handover/apps.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { failureOf, familyOf, figures, server, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const apps = useApps();
const { chain } = apps;

describe('RLIMIT_NOFILE', () => {
  it('G5: a process at its limit of 50, with 100 clients, hands over', async () => {
    const limited = boot(async (inside) => {
      await inside.open({ probation: { duration: 0 }, drain: { timeout: 500 } });
      inside.handover.keep('state', () => Buffer.from('taken at COMMIT'));
      inside.say('listening', await inside.listen('http', { port: 0, host: '127.0.0.1' }));
      inside.handover.whenInCharge(() => inside.say('state', inside.handover.inherited('state')?.bytes().toString()));
      await inside.handover.ready();
      if (inside.handover.generation > 1) return;
      // Its successor inherits it.
      process.getBuiltinModule('node:child_process').execFileSync('prlimit', ['--nofile=50:', `--pid=${process.pid}`]);
    });
    const { chain: processes, first } = await chain(limited);
    const target = await targetOf(first);
    const clients = Array.from({ length: 100 }, () => net.connect(target));
    onTestFinished(() => {
      for (const client of clients) client.destroy();
    });
    // As many as fit keep their connection; libuv accepts and closes the others at once, as it does in any server.
    const ends = await Promise.all(
      clients.map(
        (client) =>
          new Promise<'answered' | 'closed'>((resolve) => {
            client.on('data', () => resolve('answered')).on('error', () => resolve('closed'));
            client.on('close', () => resolve('closed'));
            client.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
          }),
      ),
    );
    const answered = ends.filter((end) => end === 'answered').length;
    expect(answered).toBeLessThan(50);
    expect(openDescriptors(first.pid).size).toBeGreaterThanOrEqual(49);
    const { pid } = await first.upgrade();
    figures(`at a limit of 50: ${answered} of 100 clients connected, and the handover worked`);
    const second = await processes.generation(2);
    expect(await second.said('state')).toBe('taken at COMMIT');
    for (let i = 0; i < 20; i++) expect(await visit(target)).toEqual({ pid });
    await first.process.gone();
    await second.close();
  });

  it('G5: a successor short of descriptors: a clean abort that says so', async () => {
    const app = new URL('../handover/fixtures/app.mjs', import.meta.url).pathname;
    const many = boot(async (inside, path) => {
      const args = ['-c', 'ulimit -n 60; exec "$0" "$1"', process.execPath, path];
      await inside.open({ probation: { duration: 0 }, successor: { command: 'sh', args } });
      // More than the successor can take.
      for (let i = 0; i < 80; i++) inside.handover.keep(`blob ${i}`, Buffer.from(String(i)));
      inside.say('listening', await inside.listen('http', { port: 0, host: '127.0.0.1' }));
      await inside.handover.ready();
    }, app);
    const { chain: processes, first } = await chain(many);
    const visitors = new Visitors(await targetOf(first));
    const failure = await failureOf(first);
    expect(failure).toMatchObject({ code: 'ERR_HANDOVER_DESCRIPTORS', phase: 'PREPARE', stillServing: true });
    expect(failure.message).toMatch(/descriptor table/);
    await (await processes.generation(2)).process.gone();
    await visitors.answered(first.pid, 10);
    await visitors.stop();
    expect([visitors.refused, visitors.lost]).toEqual([[], []]);
    await first.close();
  });
});

describe('many descriptors', () => {
  it('a manifest of 2,500 descriptors, more than a socket buffer takes, arrives whole', async () => {
    const COUNT = 2_500;
    const many = boot(async (inside, count) => {
      const handover = await inside.open({ probation: { duration: 0 } });
      const numbers = Array.from({ length: count }, (_, i) => i);
      const name = (i: number): string => `${'a rather long name of a value, '.repeat(4)}${i}`;
      if (handover.generation === 1) for (const i of numbers) handover.keep(name(i), Buffer.from(String(i)));
      const wrong = numbers.filter((i) => handover.inherited(name(i))?.bytes().toString() !== String(i));
      inside.say('wrong', wrong.length);
      inside.say('listening', await inside.listen('http', { port: 0, host: '127.0.0.1' }));
      await handover.ready();
    }, COUNT);
    const { chain: processes, first } = await chain(many);
    let app = first;
    for (const generation of [2, 3]) {
      const { phases } = await app.upgrade();
      figures(`${COUNT} descriptors: ready after ${phases[0]?.durationMs.toFixed(0)} ms`);
      await app.process.gone();
      app = await processes.generation(generation);
      expect(await app.said('wrong')).toBe(0);
    }
    expect(await first.said('wrong')).toBe(COUNT);
    await app.close();
  });

  it('and as a delta at COMMIT', async () => {
    const COUNT = 1_200;
    const early = server({
      options: { probation: { duration: 0 } },
      before: ({ handover, kept, say }) => {
        if (handover.generation === 1) {
          for (let i = 0; i < 1_200; i++) handover.keep(`state ${i}`, () => Buffer.from(`${kept.word} ${i}`));
          return;
        }
        handover.whenInCharge(() => {
          let right = 0;
          while (handover.inherited(`state ${right}`)?.bytes().toString() === `latest ${right}`) right++;
          say('right', right);
        });
      },
    });
    const { chain: processes, first } = await chain(early);
    await first.run(({ kept }) => {
      kept.word = 'latest';
    });
    await first.upgrade();
    const second = await processes.generation(2);
    expect(await second.said('right')).toBe(COUNT);
    await first.process.gone();
    await second.close();
  });
});

it('G7: a full descriptor table does not make the takeover socket deaf', async () => {
  const { join } = await import('node:path');
  const folder = temporaryFolder();
  const takeover = join(folder, 'handover.sock');
  const family = await familyOf(apps, server({ options: { probation: { duration: 0 }, takeover } }));
  const { first } = family;
  await first.run(({ kept }) => {
    const { execFileSync } = process.getBuiltinModule('node:child_process');
    const { openSync } = process.getBuiltinModule('node:fs');
    execFileSync('prlimit', ['--nofile=60:20000', `--pid=${process.pid}`]);
    const taken: number[] = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      kept.taken = taken;
    }
  });
  family.start();
  const second = await family.generation(2);
  await second.booted;
  await first.process.gone();
  await second.close();
});
