// G1: a listener that was handed over and that the new process does not claim fails the handover, unless that is meant.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { familyOf, privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { type App, type Boot, boot, useApps } from './apps.js';
import { HttpConnection } from './clients.js';

expectNoLeaks();
const apps = useApps();
const { chain } = apps;
const host = '127.0.0.1';

interface Where {
  readonly name?: string;
  readonly port?: number;
  readonly host?: string;
  readonly abstract?: string;
}

type Wanted = Readonly<Record<string, Where>>;

/** Listens on these, by kind of server. */
function listening(wanted: Wanted, options: object = {}): Boot {
  return boot(
    async (inside, wanted, options) => {
      try {
        await inside.open({ probation: { duration: 0 }, ...options });
        for (const [kind, where] of Object.entries(wanted)) {
          inside.say(kind, await inside.listen(kind as 'http', where));
        }
        await inside.handover.ready();
      } catch (error) {
        const { code, message, stillServing } = error as Error & { code: string; stillServing: boolean };
        inside.say('failed', { code, message, stillServing });
      }
    },
    wanted,
    options,
  );
}

const WEB: Where = { name: 'web', port: 0, host };

async function answers(app: App): Promise<boolean> {
  const { address } = await app.said<{ address: { port: number } }>('http');
  const client = new HttpConnection({ port: address.port, host });
  const { pid } = await client.request('/', undefined, true);
  client.close();
  return pid === app.pid;
}

const failure = (app: App): Promise<Record<string, unknown>> =>
  app.run(({ handover }) =>
    handover.upgrade().then(
      () => ({ code: 'none' }),
      ({ code, phase, stillServing, message }) => ({ code, phase, stillServing, message }),
    ),
  );

const UNCLAIMED = { code: 'ERR_HANDOVER_UNCLAIMED', phase: 'PREPARE', stillServing: true };

describe('by default', () => {
  it.each<[string, Wanted, Wanted, string[]]>([
    [
      'a release without it',
      { http: WEB, net: { name: 'admin', port: 0, host } },
      { http: WEB },
      ['"admin" at tcp://'],
    ],
    [
      'another name',
      { http: { ...WEB, name: 'old' } },
      { http: { ...WEB, name: 'new' } },
      ['"old" at', 'It has bound'],
    ],
    ['UDP', { http: WEB, udp4: { port: 0, host } }, { http: WEB }, [`udp://${host}:0, which`, `['udp://${host}:0']`]],
    [
      'an abstract name',
      { http: WEB, net: { abstract: `handover-test-${process.pid}-a` } },
      { http: WEB, net: { abstract: `handover-test-${process.pid}-b` } },
      ['abstract:handover-test', 'It has bound abstract:'],
    ],
    ['all of them', { http: WEB, net: { name: 'admin', port: 0, host } }, {}, ['"web" at', '"admin" at']],
  ])('G1, G5: %s: it fails, says which and what to do, and the old process serves on', async (_, before, after, says) => {
    const { chain: processes, first } = await chain([listening(before), listening(after), listening(before)]);
    const { message, ...rest } = await failure(first);
    expect(rest).toEqual(UNCLAIMED);
    for (const text of [...says, "unclaimed: 'close'"]) expect(message).toContain(text);
    const second = await processes.generation(2);
    await second.gone();
    expect(await answers(first)).toBe(true);
    await first.upgrade();
    await first.gone();
    const third = await processes.generation(3);
    expect(await answers(third)).toBe(true);
    await third.close();
  });

  it('G1: what the old process has closed itself, nobody needs to claim', async () => {
    const both = { http: WEB, net: { name: 'admin', port: 0, host } };
    const { chain: processes, first } = await chain([listening(both), listening({ http: WEB })]);
    await first.run(({ servers }) => void (servers.net as unknown as import('node:net').Server).close());
    expect(await first.upgrade()).toMatchObject({ claimed: ['web'], unclaimed: [] });
    await first.gone();
    await (await processes.generation(2)).close();
  });

  it('G1, G5: a standby fails when it is prepared', async () => {
    const both = { http: WEB, net: { name: 'admin', port: 0, host } };
    const { chain: processes, first } = await chain([listening(both), listening({ http: WEB })]);
    const code = await first.run(({ handover }) => handover.prepare().catch((error: { code: string }) => error.code));
    expect(code).toBe('ERR_HANDOVER_UNCLAIMED');
    await (await processes.generation(2)).gone();
    expect(await answers(first)).toBe(true);
    await first.close();
  });

  it('G1, G5: a process that takes over by a path ends, and the old one serves on', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const both = { http: WEB, net: { name: 'admin', port: 0, host } };
    const family = await familyOf(apps, [listening(both, { takeover }), listening({ http: WEB }, { takeover })]);
    family.start();
    const second = await family.generation(2);
    expect(await family.first.said('handover:failed')).toMatchObject({ code: 'ERR_HANDOVER_UNCLAIMED' });
    await second.process.gone();
    expect(await answers(family.first)).toBe(true);
    await family.first.close();
  });

  it('G5: the old process dies before the new one is ready: that one serves what it has claimed', async () => {
    const loads = boot(
      async (inside, options) => {
        await inside.open(options);
        inside.say('http', await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' }));
        inside.kept.ready = () => inside.handover.ready();
        inside.say('loading');
      },
      { probation: { duration: 0 } },
    );
    const both = { http: WEB, net: { name: 'admin', port: 0, host } };
    const { chain: processes, first } = await chain([listening(both), loads]);
    await first.run(({ handover }) => void handover.upgrade().catch(() => {}));
    const second = await processes.generation(2);
    await second.said('loading');
    // Dead, and the new process has had no time to read of it.
    await second.run(({ kept }, pid) => {
      process.kill(pid, 'SIGKILL');
      const { Atomics: atomics } = globalThis;
      while (process.getBuiltinModule('node:fs').existsSync(`/proc/${pid}/fd/0`)) {
        atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
      kept.isReady = (kept.ready as () => Promise<void>)();
    }, first.pid);
    expect(await second.said('handover:in-charge')).toMatchObject({ claimed: ['web'], unclaimed: ['admin'] });
    expect(await answers(second)).toBe(true);
    await first.gone();
    await second.close();
  });
});

describe('where it is meant', () => {
  it.each<['close' | readonly string[]]>([
    ['close'],
    [['other', 'admin']],
  ])('unclaimed: %j: it is closed, and told', async (unclaimed) => {
    const port = freePort();
    const both = { http: WEB, net: { name: 'admin', port, host } };
    const { chain: processes, first } = await chain([listening(both), listening({ http: WEB }, { unclaimed })]);
    expect(await first.upgrade()).toMatchObject({ claimed: ['web'], unclaimed: ['admin'] });
    await first.gone();
    const second = await processes.generation(2);
    expect(await second.said('handover:in-charge')).toMatchObject({ unclaimed: ['admin'] });
    await expect(new HttpConnection({ port, host }).request('/')).rejects.toThrow('ECONNREFUSED');
    await second.close();
  });

  it('names say which: another one fails the handover', async () => {
    const both = { http: WEB, net: { name: 'admin', port: 0, host } };
    const { chain: processes, first } = await chain([listening(both), listening({}, { unclaimed: ['admin'] })]);
    const { message, ...rest } = await failure(first);
    expect(rest).toEqual(UNCLAIMED);
    expect([String(message).includes('"web"'), String(message).includes('"admin"')]).toEqual([true, false]);
    await (await processes.generation(2)).gone();
    await first.close();
  });

  it.each([[true], ['web'], [[1]], [null]])('%j is refused', async (unclaimed) => {
    const { first } = await chain(listening({}, { unclaimed }));
    expect(await first.said('failed')).toMatchObject({ message: expect.stringContaining('"options.unclaimed"') });
    await first.gone();
  });
});
