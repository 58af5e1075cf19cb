// G2, G3: random streams of requests, cut at random bytes, through handovers at random moments, answered exactly as
// without one: the same responses in the same order, on the same connection.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { type Delay, DelayingProxy } from './delaying-proxy.js';
import { answeredBy, type Drained, generation, idle, portOf, release } from './generations.js';
import { anySizes, play, type Script, scriptOf, singleBytes } from './scripts.js';
import { type Response, Wire } from './wire.js';

expectNoLeaks();
const { chain } = useApps();

/** A response without what differs between any two runs. */
const plain = ({ status, head, body }: Response): unknown => ({ status, head, body: body.toString('latin1') });

/** How many times as many runs: `npm run test:soak`. */
const LENGTH = process.env.HANDOVER_SOAK ? 10 : 1;
const TIMEOUT = 40_000 * LENGTH;

interface Variant {
  readonly scripts: fc.Arbitrary<Script[]>;
  readonly runs: number;
  /** The way of the clients to the server, and back. */
  readonly delay?: Delay;
}

/** What these scripts are answered where nothing happens meanwhile. */
async function withoutHandover(port: number, scripts: readonly Script[]): Promise<unknown[][]> {
  return Promise.all(
    scripts.map(async (script) => {
      const client = new Wire(port);
      const responses = await play(client, script, () => {});
      client.close();
      return responses.map(plain);
    }),
  );
}

async function holds({ scripts: manyScripts, runs, delay }: Variant): Promise<void> {
  // Node's default ends a half-closed connection under its responses, when it happens to.
  const server = { keepAliveTimeout: 60_000, httpAllowHalfOpen: 1 };
  const { chain: processes, first } = await chain(generation({ server }));
  const port = await portOf(first);
  const entrance = delay ? (await DelayingProxy.before(port, delay)).port : port;
  let app = first;
  let number = 1;
  const pids = new Set<number>();
  const moments = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 2 });
  const property = fc.asyncProperty(manyScripts, moments, async (scripts, moments) => {
    const reference = await withoutHandover(port, scripts);
    const total = scripts.reduce((sum, { pieces }) => sum + pieces.length, 0);
    let progress = 0;
    const clients = scripts.map(() => new Wire(entrance));
    const played = Promise.all(scripts.map((script, i) => play(clients[i] as Wire, script, () => progress++)));
    played.catch(() => {});
    const handovers = (async () => {
      for (const moment of [...moments].sort()) {
        await until(() => progress >= moment * total, { what: 'the moment of the handover' });
        const predecessor = app;
        await app.upgrade();
        app = await processes.generation(++number);
        // Three at a time would be refused.
        expect(await predecessor.said<Drained>('handover:drained')).toMatchObject({ cut: 0 });
        await predecessor.gone();
      }
    })();
    const [responses] = await Promise.all([played, handovers]);
    for (const [i, answers] of responses.entries()) {
      expect(answers.map(plain)).toEqual(reference[i]);
      expect(answers.map(({ body }) => body.toString('latin1'))).toEqual(
        scripts[i]?.requests.map(({ answer }) => answer.toString('latin1')),
      );
      for (const { pid } of answers) pids.add(pid);
    }
    expect(clients.map(({ pending, connects }) => [pending, connects])).toEqual(clients.map(() => [0, 1]));
    // Wherever it is now, it is open, nothing more came, and it goes on in the process in charge.
    const open = clients.filter((_, i) => !scripts[i]?.isHalfClosed);
    const last = await Promise.all(open.map((client) => client.ask('/xlast')));
    expect(last.map(({ pid }) => pid)).toEqual(open.map(() => app.pid));
    expect(clients.filter((client) => client.end !== undefined && open.includes(client))).toEqual([]);
    for (const client of clients) client.close();
  });
  await fc.assert(property, { numRuns: runs * LENGTH, endOnFailure: true });
  expect(pids.size).toBeGreaterThan(1);
  await app.close();
}

const some = (script: fc.Arbitrary<Script>): fc.Arbitrary<Script[]> =>
  fc.array(script, { minLength: 2, maxLength: 12 });

describe('random streams through handovers: the same responses, in order, none closed', () => {
  it('cut anywhere', () => holds({ scripts: some(scriptOf(anySizes)), runs: 8 }), TIMEOUT);

  it(
    'a byte at a time, each in its own segment',
    () => holds({ scripts: some(scriptOf(singleBytes, { maxRequests: 6 })), runs: 4 }),
    TIMEOUT,
  );

  it(
    'by clients that end their direction with their last request, or have heard all of it',
    () => holds({ scripts: some(scriptOf(anySizes, { halfCloses: true })), runs: 6 }),
    TIMEOUT,
  );

  it.each([
    ['100 ms, give or take 20', { base: 100, jitter: 20 }],
    ['150 ms', { base: 150 }],
  ])(
    'over a way of %s in each direction',
    (_, delay) => {
      const scripts = some(scriptOf(anySizes, { maxRequests: 5, halfCloses: true }));
      return holds({ scripts, runs: 2, delay });
    },
    TIMEOUT,
  );
});

describe('idle clients that leave', () => {
  const leaves: Record<string, (client: Wire) => void> = {
    'end their direction': (client) => void client.socket.end(),
    reset: (client) => void client.socket.resetAndDestroy(),
  };
  const cases = Object.keys(leaves).flatMap((how) => ['before', 'while', 'after'].map((when) => [how, when] as const));

  it.each(cases)('%s %s the connections move: they hear nothing but the end, the others nothing', async (how, when) => {
    const { chain: processes, first } = await chain(generation({ server: { keepAliveTimeout: 60_000 } }));
    const clients = await idle(first, 80);
    const [leaving, staying] = [clients.slice(0, 60), clients.slice(60)];
    const open = [...leaving];
    const leave = (count: number): void => {
      for (const client of open.splice(0, count)) leaves[how]?.(client);
    };
    if (when === 'before') leave(60);
    const timer = setInterval(leave, 10, when === 'while' ? 1 : 0);
    const { pid } = await first.upgrade().finally(() => clearInterval(timer));
    leave(60);
    expect(await Promise.all(leaving.map((client) => client.ended()))).toEqual(leaving.map(() => 'closed'));
    expect(leaving.filter(({ pending }) => pending > 0)).toEqual([]);
    expect(await answeredBy(staying)).toEqual(staying.map(() => pid));
    expect(await first.said<Drained>('handover:drained')).toMatchObject({ cut: 0 });
    await first.gone();
    for (const client of clients) client.close();
    await (await processes.generation(2)).close();
  });
});

it('a client that ends its direction with a request gets the response, from whichever process has it', async () => {
  const { chain: processes, first } = await chain(
    generation({ server: { keepAliveTimeout: 60_000, httpAllowHalfOpen: 1 } }),
  );
  const [busy, moving] = (await idle(first, 2)) as [Wire, Wire];
  busy.get('/hold/busy').socket.end();
  await first.said('held');
  await first.upgrade();
  const second = await processes.generation(2);
  moving.get('/hold/moved').socket.end();
  await second.said('held');
  for (const [client, app, body] of [
    [busy, first, 'held /hold/busy'],
    [moving, second, 'held /hold/moved'],
  ] as const) {
    await release(app);
    expect(await client.response()).toMatchObject({ pid: app.pid, body: Buffer.from(body) });
    expect([await client.ended(), client.pending]).toEqual(['closed', 0]);
    client.close();
  }
  expect(await first.said<Drained>('handover:drained')).toMatchObject({ moved: 1, cut: 0 });
  await first.gone();
  await second.close();
});
