// What is published on diagnostics_channel: names, payloads, and their order.
import { expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { boot, useApps } from './apps.js';

expectNoLeaks();
const { chain } = useApps();

const serving = (options: object = {}) =>
  boot(async (inside, options) => {
    await inside.open(options);
    await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
    await inside.listen('udp4', { port: 0 });
    await inside.handover.ready();
  }, options);

const web = serving();

const listens = (origin: string) => [
  ['listen', { name: 'web', address: 'tcp://127.0.0.1:0', origin }],
  ['listen', { name: 'udp://0.0.0.0:0', address: 'udp://0.0.0.0:0', origin }],
];

/** As the first, and says each frame; heartbeats, whose number is nobody's concern, once. */
const framed = boot(async (inside) => {
  const { subscribe } = process.getBuiltinModule('node:diagnostics_channel');
  const seen = new Set<string>();
  subscribe('handover:frame', (message) => {
    const { direction, name, role } = message as { direction: string; name: string; role: string };
    const frame = `${role} ${direction} ${name}`;
    if (name === 'HEARTBEAT' && seen.has(frame)) return;
    seen.add(frame);
    inside.say('frame', frame);
  });
  await inside.open({ probation: { duration: 150 } });
  await inside.listen('http', { name: 'web', port: 0, host: '127.0.0.1' });
  await inside.handover.ready();
});

const handoverId = expect.stringMatching(/^[0-9a-f-]{36}$/);
const phase = (name: string, generation: number) => [
  'phase',
  { handoverId, phase: name, role: 'predecessor', generation },
];
const drained = (generation: number, id?: unknown) => [
  'drained',
  {
    ...(id !== undefined && { handoverId: id }),
    generation,
    moved: 0,
    ended: 0,
    cut: 0,
    cutConnections: [],
    durationMs: expect.any(Number),
  },
];

/** Every id of a handover that the processes said. */
const idsOf = (...apps: { readonly events: [string, unknown][] }[]) =>
  new Set(
    apps
      .flatMap(({ events }) => events.map(([, payload]) => (payload as { handoverId?: string }).handoverId))
      .filter((id) => id !== undefined),
  );

it('G8: a handover, on both sides', async () => {
  const { chain: processes, first } = await chain(web);
  const { pid } = await first.upgrade();
  await first.gone();
  expect(first.events).toEqual([
    ...listens('bound'),
    ['in-charge', { generation: 1, claimed: [], unclaimed: [] }],
    phase('PREPARE', 1),
    phase('PROBATION', 1),
    phase('COMMIT', 1),
    phase('MIGRATE', 1),
    ['superseded', { handoverId, generation: 1, successorPid: pid }],
    phase('DRAIN', 1),
    drained(1, handoverId),
    phase('RETIRE', 1),
  ]);
  const second = await processes.generation(2);
  await second.close();
  expect(second.events).toEqual([
    ...listens('inherited'),
    ['in-charge', { handoverId, generation: 2, claimed: ['web', 'udp://0.0.0.0:0'], unclaimed: [] }],
    drained(2),
  ]);
  // The one id of it, known to both.
  expect(idsOf(first, second).size).toBe(1);
});

it('G8: a handover that fails, and a hook that does', async () => {
  const { first } = await chain([web, boot(() => process.exit(3))]);
  await first.upgrade().catch(() => {});
  await first.run(({ handover }) => {
    handover.onClose('pool', () => {
      throw new Error('already ended');
    });
  });
  await first.close();
  expect(first.events).toEqual([
    ...listens('bound'),
    ['in-charge', { generation: 1, claimed: [], unclaimed: [] }],
    phase('PREPARE', 1),
    [
      'failed',
      {
        handoverId,
        generation: 1,
        code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
        phase: 'PREPARE',
        stillServing: true,
        error: { name: 'HandoverError', message: expect.stringContaining('exit code 3') },
      },
    ],
    drained(1),
    ['hook-failed', { name: 'pool', error: { name: 'Error', message: 'already ended' } }],
  ]);
});

it('G8: a recall: superseded, failed, and in charge again', async () => {
  const { chain: processes, first } = await chain(serving({ migrate: false }));
  // Held open by its own connection, it drains until it is told not to.
  const { pid } = await first.run(async ({ handover, servers, kept }) => {
    const { port } = (servers.http as unknown as import('node:net').Server).address() as { port: number };
    const net = process.getBuiltinModule('node:net');
    const socket = net.connect(port, '127.0.0.1');
    await new Promise((resolve) => servers.http?.once('connection', resolve));
    kept.socket = socket;
    return handover.upgrade();
  });
  await first.said('handover:superseded');
  (await processes.generation(2)).process.signal('SIGKILL');
  await first.said('handover:in-charge', 2);
  expect(first.events.slice(2)).toEqual([
    ['in-charge', { generation: 1, claimed: [], unclaimed: [] }],
    phase('PREPARE', 1),
    phase('PROBATION', 1),
    phase('COMMIT', 1),
    phase('MIGRATE', 1),
    ['superseded', { handoverId, generation: 1, successorPid: pid }],
    phase('DRAIN', 1),
    ['failed', expect.objectContaining({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED', phase: 'DRAIN', stillServing: true })],
    ['in-charge', { handoverId, generation: 1, claimed: [], unclaimed: [] }],
  ]);
  await first.run(({ kept }) => void (kept.socket as import('node:net').Socket).destroy());
  await first.close();
});

it('G8: every frame, sent and received, in the order of the protocol', async () => {
  const { chain: processes, first } = await chain(framed);
  await first.upgrade();
  await first.gone();
  const second = await processes.generation(2);
  await second.close();
  const sent = (role: string, app: typeof first) =>
    app.allSaid('frame').flatMap((frame) => new RegExp(`^${role} sent (.*)$`).exec(String(frame))?.[1] ?? []);
  const received = (role: string, app: typeof first) =>
    app.allSaid('frame').flatMap((frame) => new RegExp(`^${role} received (.*)$`).exec(String(frame))?.[1] ?? []);
  expect(sent('predecessor', first)).toEqual(['HELLO', 'MANIFEST', 'COMMIT', 'HEARTBEAT', 'RETIRE']);
  expect(sent('successor', second)).toEqual(['HELLO', 'CLAIMED', 'READY', 'HEARTBEAT', 'COMMITTED']);
  // What one sends the other receives, in that order.
  expect(received('successor', second)).toEqual(sent('predecessor', first));
  expect(received('predecessor', first)).toEqual(sent('successor', second));
  expect(first.allSaid('frame').filter((frame) => String(frame).startsWith('successor'))).toEqual([]);
  expect(second.allSaid('frame').filter((frame) => String(frame).startsWith('predecessor'))).toEqual([]);
});
