// G3: connections with TLS do not move, so their clients come back; they resume their session with the successor instead
// of paying for a whole handshake. Every generation runs with another command line (FACTS C10).
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { failureOf, familyOf, privateFolder } from '../engine/engine.js';
import { type App, type Boot, boot, type Kind, useApps } from '../handover/apps.js';
import { HttpConnection, selfSigned } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { hasOpenssl, sClient, shakeHands, type TlsVisit, VERSIONS, type Version, visitTls } from './clients.js';

expectNoLeaks();
const apps = useApps();
const APP = new URL('../handover/fixtures/app.mjs', import.meta.url);

interface Plan {
  readonly kind?: Kind;
  readonly probation?: number;
  readonly tls?: object;
}

/** Its successor has one argument more than its own: the default session id context is another one. */
const site = ({ kind = 'https', probation = 0, tls = {} }: Plan = {}): Boot =>
  boot(
    async (inside, kind, options, tls, app) => {
      const successor = { args: [app, `successor of ${process.pid}`] };
      await inside.open({ drain: { timeout: 10_000 }, successor, ...options });
      inside.say('listening', await inside.listen(kind, { name: 'web', port: 0, host: '127.0.0.1' }, tls));
      await inside.handover.ready();
    },
    kind,
    { probation: { duration: probation } },
    kind === 'net' ? {} : { ...selfSigned(), ...tls },
    APP.pathname,
  );

async function portOf(app: App): Promise<number> {
  const { address } = await app.said<{ address: { port: number } }>('listening');
  return address.port;
}

/** Hands over and waits until only the successor is left. */
async function succeed(app: App, generation: (number: number) => Promise<App>, number: number): Promise<App> {
  await app.upgrade();
  await app.gone();
  return generation(number);
}

/** Descriptors of sealed memory, as /proc names them: not the file of the arbiter, which every generation holds. */
const sealed = (app: App): Promise<string[]> =>
  app.run(({ descriptors }) =>
    descriptors().filter((line) => line.includes('memfd') && !line.includes('memfd:handover:charge ')),
  );

describe.each(VERSIONS)('G3: %s', (version) => {
  it('https: a session of the first generation is resumed by every later one, and so are theirs', async () => {
    const { first, generation } = await familyOf(apps, site());
    const port = await portOf(first);
    const sessions = [await visitTls(port, version)];
    expect(sessions[0]).toMatchObject({ pid: first.pid, reused: false });
    let app = first;
    for (const number of [2, 3, 4]) {
      app = await succeed(app, generation, number);
      for (const { session } of [...sessions]) {
        expect(await visitTls(port, version, session)).toMatchObject({ pid: app.pid, reused: true });
      }
      sessions.push(await visitTls(port, version));
      expect(await sealed(app)).toEqual([]);
    }
    await app.close();
  });

  it.each(['h2', 'tls'] as const)('%s: a session of the predecessor is resumed by the successor', async (kind) => {
    const { first, generation } = await familyOf(apps, site({ kind }));
    const port = await portOf(first);
    const { session } = await shakeHands(port, version);
    expect((await shakeHands(port, version, session)).reused).toBe(true);
    const second = await succeed(first, generation, 2);
    expect((await shakeHands(port, version, session)).reused).toBe(true);
    await second.close();
  });

  it.runIf(hasOpenssl())('openssl s_client -sess_out, then -sess_in', async () => {
    const { first, generation } = await familyOf(apps, site());
    const port = await portOf(first);
    const file = join(privateFolder(), 'session');
    expect(await sClient(port, version, { out: file })).toEqual({ kind: 'New', pid: first.pid });
    expect(await sClient(port, version, { in: file })).toEqual({ kind: 'Reused', pid: first.pid });
    const second = await succeed(first, generation, 2);
    expect(await sClient(port, version, { in: file })).toEqual({ kind: 'Reused', pid: second.pid });
    await second.close();
  });

  it('on probation either resumes what the other began, and so it stays when the successor fails', async () => {
    const { first, generation } = await familyOf(apps, site({ probation: 60_000 }));
    const port = await portOf(first);
    const old = await visitTls(port, version);
    const failing = failureOf(first);
    const second = await generation(2);
    await second.booted;
    const young = await servedBy(second.pid, port, version);
    // Whoever takes it: both do, now and then.
    for (const pid of [first.pid, second.pid]) {
      for (const { session } of [old, young]) {
        expect(await servedBy(pid, port, version, session)).toMatchObject({ reused: true });
      }
    }
    second.process.signal('SIGKILL');
    expect(await failing).toMatchObject({ code: 'ERR_HANDOVER_PROBATION_FAILED' });
    expect(await visitTls(port, version, young.session)).toMatchObject({ pid: first.pid, reused: true });
    expect(await sealed(first)).toEqual([]);
    await first.close();
  });

  it('what the successor began on probation it resumes when it is in charge', async () => {
    const { first, generation } = await familyOf(apps, site({ probation: 1_000 }));
    const port = await portOf(first);
    const upgrade = first.upgrade();
    const second = await generation(2);
    await second.booted;
    const young = await servedBy(second.pid, port, version);
    await upgrade;
    await first.gone();
    expect(await visitTls(port, version, young.session)).toMatchObject({ pid: second.pid, reused: true });
    await second.close();
  });

  it('G5: after a recall the predecessor resumes its own sessions and those of the dead successor', async () => {
    const { first, generation } = await familyOf(apps, site());
    const port = await portOf(first);
    const old = await visitTls(port, version);
    const client = new HttpConnection({ port, host: '127.0.0.1' }, true);
    const held = client.request('/hold');
    await first.said('held');
    const { pid } = await first.upgrade();
    const young = await visitTls(port, version);
    expect(young.pid).toBe(pid);
    (await generation(2)).process.signal('SIGKILL');
    await first.said('handover:in-charge', 2);
    for (const { session } of [old, young]) {
      expect(await visitTls(port, version, session)).toMatchObject({ pid: first.pid, reused: true });
    }
    await first.run(({ servers }) => servers.https?.release());
    expect((await held).pid).toBe(first.pid);
    client.close();
    expect(await sealed(first)).toEqual([]);
    const third = await succeed(first, generation, 3);
    expect(await visitTls(port, version, young.session)).toMatchObject({ pid: third.pid, reused: true });
    await third.close();
  });

  it('keys that the app renews while a standby waits are those the standby gets', async () => {
    const { first, generation } = await familyOf(apps, site());
    const port = await portOf(first);
    await first.run(async ({ handover, kept }) => {
      kept.standby = await handover.prepare();
    });
    const keys = randomBytes(48).toString('hex');
    await first.run(({ servers }, keys) => {
      (servers.https as unknown as import('node:tls').Server).setTicketKeys(Buffer.from(keys, 'hex'));
    }, keys);
    const { session } = await visitTls(port, version);
    await first.run(({ kept }) => (kept.standby as import('../../lib/index.js').Standby).commit());
    await first.gone();
    const second = await generation(2);
    expect(await visitTls(port, version, session)).toMatchObject({ pid: second.pid, reused: true });
    await second.close();
  });

  it('a client that names the host of another context resumes, too', async () => {
    const { first, generation } = await familyOf(apps, site());
    const port = await portOf(first);
    const add = (app: App) =>
      app.run(
        ({ servers }, pair) => (servers.https as unknown as import('node:tls').Server).addContext('localhost', pair),
        selfSigned(),
      );
    await add(first);
    const { session } = await visitTls(port, version);
    expect(await visitTls(port, version, session)).toMatchObject({ pid: first.pid, reused: true });
    const second = await succeed(first, generation, 2);
    await add(second);
    expect(await visitTls(port, version, session)).toMatchObject({ pid: second.pid, reused: true });
    await second.close();
  });

  it("an app's own sessionIdContext separates two releases, and the same one does not", async () => {
    const named = (sessionIdContext: string): Boot => site({ tls: { sessionIdContext } });
    const { first, generation } = await familyOf(apps, [named('v1'), named('v1'), named('v2')]);
    const port = await portOf(first);
    const { session } = await visitTls(port, version);
    const second = await succeed(first, generation, 2);
    expect(await visitTls(port, version, session)).toMatchObject({ pid: second.pid, reused: true });
    const third = await succeed(second, generation, 3);
    expect(await visitTls(port, version, session)).toMatchObject({ pid: third.pid, reused: false });
    await third.close();
  });
});

it("keys that the app gives as an option are the app's", async () => {
  const keys = (fill: number): Boot => {
    const base = site();
    // A Buffer does not travel as JSON.
    const source = `(inside, kind, options, tls, app) => (${base.source})(inside, kind, options, { ...tls, ticketKeys: Buffer.alloc(48, ${fill}) }, app)`;
    return { ...base, source };
  };
  const { first, generation } = await familyOf(apps, [keys(1), keys(2)]);
  const second = await succeed(first, generation, 2);
  const keysOf = ({ servers }: Parameters<Parameters<App['run']>[0]>[0]) =>
    (servers.https as unknown as import('node:tls').Server).getTicketKeys().toString('hex');
  expect(await second.run(keysOf)).toBe(Buffer.alloc(48, 2).toString('hex'));
  await second.close();
});

describe('G9: where one side knows nothing of tickets', () => {
  it('the predecessor sent none: whole handshakes', async () => {
    const { first, generation } = await familyOf(apps, [site({ kind: 'net' }), site()]);
    const port = await portOf(first);
    const second = await succeed(first, generation, 2);
    const { session } = await visitTls(port, 'TLSv1.3');
    expect(await visitTls(port, 'TLSv1.3', session)).toMatchObject({ pid: second.pid, reused: true });
    await second.close();
  });

  it('the successor does not ask for them: nothing is reported as lost, and nothing stays open', async () => {
    const { first, generation } = await familyOf(apps, [site(), site({ kind: 'net' }), site()]);
    const outcome = await first.upgrade();
    expect(outcome).toMatchObject({ claimed: ['web'], unclaimed: [] });
    await first.gone();
    const second = await generation(2);
    await until(() => second.allSaid('handover:in-charge').length > 0, { what: 'the second to be in charge' });
    let left = await sealed(second);
    for (let look = 0; left.length > 0 && look < 100; look++) left = await sealed(second);
    expect(left).toEqual([]);
    const third = await succeed(second, generation, 3);
    expect(await visitTls(await portOf(third), 'TLSv1.2')).toMatchObject({ pid: third.pid });
    await third.close();
  });
});

/** Comes until it is this process that answers: the kernel decides. */
async function servedBy(pid: number, port: number, version: Version, session?: Buffer): Promise<TlsVisit> {
  for (let attempt = 0; attempt < 100; attempt++) {
    // Several at a time: one alone always finds the same process waiting.
    const seen = await Promise.all([1, 2, 3].map(() => visitTls(port, version, session)));
    const found = seen.find((visit) => visit.pid === pid);
    if (found) return found;
  }
  throw new Error(`process ${pid} was not among those that answered`);
}
