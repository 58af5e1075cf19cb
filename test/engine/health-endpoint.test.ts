// `/livez` and `/readyz` as an orchestrator probes them: through start, handovers, failures and the end.
import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { type App, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { failureOf, LOCALHOST, type Plan, server, targetOf, visit } from './engine.js';
import { Kubelet, probe } from './probes.js';

expectNoLeaks();
const apps = useApps();

async function probed(
  plans: readonly Plan[] = [{}],
): Promise<{ port: number; first: App; generation: (n: number) => Promise<App> }> {
  const port = freePort();
  const healthEndpoint = { host: LOCALHOST, port };
  const boots = plans.map((plan) =>
    server({ ...plan, options: { probation: { duration: 0 }, health: { endpoint: healthEndpoint }, ...plan.options } }),
  );
  const { chain, first } = await apps.chain(boots);
  return { port, first, generation: chain.generation };
}

describe('/livez and /readyz', () => {
  it('say that the process lives while it loads, and is ready when it is in charge', async () => {
    const port = freePort();
    const { env, generation } = await apps.dialled(
      server({
        options: { health: { endpoint: { host: LOCALHOST, port } } },
        before: ({ say, kept }) => {
          say('loading');
          return new Promise((resolve) => {
            kept.load = resolve;
          });
        },
      }),
    );
    apps.start(new URL('../handover/fixtures/app.mjs', import.meta.url), { env });
    const app = await generation(1);
    await app.said('loading');
    const { pid } = app;
    expect(await probe(port, '/livez')).toEqual({
      status: 200,
      connection: 'close',
      body: { live: true, generation: 1, pid },
    });
    const body = { ready: false, reason: 'loading', generation: 1, pid };
    expect(await probe(port)).toEqual({ status: 503, connection: 'close', body });
    await app.run(({ kept }) => (kept.load as () => void)());
    await app.booted;
    expect(await probe(port)).toEqual({ status: 200, connection: 'close', body: { ready: true, generation: 1, pid } });
    expect(await probe(port, '/readyz?verbose', 'HEAD')).toMatchObject({ status: 200, body: {} });
    expect(await probe(port, '/')).toMatchObject({ status: 404 });
    expect(await probe(port, '/readyz', 'POST')).toMatchObject({ status: 405 });
    await app.close();
  });

  it('G2: of a process that drains say so to the end, while its last request is answered', async () => {
    const { port, first } = await probed();
    const held = visit(await targetOf(first), '/hold');
    await first.said('held');
    await first.run(({ handover }) => void handover.close());
    await first.said('closing');
    expect(await probe(port)).toMatchObject({ status: 503, body: { ready: false, reason: 'closing' } });
    expect(await probe(port, '/livez')).toMatchObject({ status: 200 });
    await first.run(({ servers }) => servers.http?.release());
    expect(await held).toEqual({ pid: first.pid });
    await first.gone();
    await expect(probe(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});

describe('G1: a probe is never refused, nor told that nobody is ready', () => {
  it('through three handovers', async () => {
    const { port, first, generation } = await probed();
    const kubelet = new Kubelet(port);
    let current = first;
    for (const number of [2, 3, 4]) {
      await kubelet.answeredBy(current.pid);
      await current.upgrade();
      await current.process.gone();
      current = await generation(number);
    }
    await kubelet.answeredBy(current.pid);
    await kubelet.stop();
    expect([kubelet.failed, kubelet.unready]).toEqual([[], []]);
    await current.close();
  });

  it('that was accepted before a handover and asks after it', async () => {
    const { port, first, generation } = await probed();
    const held = visit(await targetOf(first), '/hold');
    await first.said('held');
    const early = net.connect(port, LOCALHOST);
    await once(early, 'connect');
    // Accepted in their order: when this one is answered, the one before is with the first process, too.
    await probe(port);
    await first.upgrade();
    const answer = new Promise<string>((resolve) => early.once('data', (bytes) => resolve(bytes.toString())));
    early.write('GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    early.destroy();
    await first.run(({ servers }) => servers.http?.release());
    await held;
    await first.process.gone();
    await (await generation(2)).close();
  });

  it('through a release that fails before it is in charge', async () => {
    const fails: Plan = {
      options: { probation: { duration: 500 } },
      after: () => setTimeout(() => process.exit(7), 100),
    };
    const { port, first } = await probed([{ options: { probation: { duration: 500 } } }, fails]);
    const kubelet = new Kubelet(port);
    await kubelet.answeredBy(first.pid);
    expect(await failureOf(first)).toMatchObject({ code: 'ERR_HANDOVER_PROBATION_FAILED' });
    await kubelet.stop();
    expect([kubelet.failed, kubelet.unready]).toEqual([[], []]);
    expect((await probe(port)).body.pid).toBe(first.pid);
    await first.close();
  });

  it('G5: and one that dies in charge: the old process answers again', async () => {
    const { port, first, generation } = await probed();
    const held = visit(await targetOf(first), '/hold');
    await first.said('held');
    await first.upgrade();
    const second = await generation(2);
    await second.booted;
    expect((await probe(port)).body.pid).toBe(second.pid);
    second.process.signal('SIGKILL');
    await first.said('handover:failed');
    expect(await probe(port)).toMatchObject({ status: 200, body: { generation: 1, pid: first.pid } });
    await first.run(({ servers }) => servers.http?.release());
    expect(await held).toEqual({ pid: first.pid });
    await first.close();
  });
});

it('a release may move it to another port', async () => {
  const other = freePort();
  const moved: Plan = { options: { health: { endpoint: { host: LOCALHOST, port: other } } } };
  const { port, first, generation } = await probed([{}, moved]);
  await first.upgrade();
  await first.process.gone();
  const second = await generation(2);
  expect((await probe(other)).body.pid).toBe(second.pid);
  await expect(probe(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await second.close();
});

it('G7: probes are no connections of the app: a silent one holds nothing back, and none is counted', async () => {
  const { port, first } = await probed();
  const silent = net.connect(port, LOCALHOST);
  await once(silent, 'connect');
  await probe(port);
  expect(await first.run(({ handover }) => (handover as unknown as { connectionCount: number }).connectionCount)).toBe(
    0,
  );
  await first.run(({ handover }) => handover.close());
  await first.gone();
  silent.destroy();
});
