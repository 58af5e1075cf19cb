// The load client tells a restart that loses from one that does not.
import net from 'node:net';
import { expect, test } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { runHammer } from './helpers.js';

expectNoLeaks();
const programs = usePrograms();

const LOAD = ['--identify', 'header:x-pid', '--idle', '500ms', '--expect', 'text:hello\n'];

test('a naive restart loses requests and connections, and each loss has its name', async () => {
  const server = programs.start(new URL('fixtures/naive.mjs', import.meta.url));
  const { port } = await server.message<{ port: number }>('ready');
  const url = `http://127.0.0.1:${port}/`;
  const more = ['--signal', String(server.pid), '--every', '900ms', '--duration', '2600ms'];
  const { code, result, details } = await runHammer(programs, url, ...LOAD, ...more);
  expect(code).toBe(1);
  // As many as it was told to make; the last one may still be under way when the load ends.
  const told = (details.triggers as readonly object[]).map((_, index) => `generation ${index + 2}`);
  const made = result.switches.map(({ to }) => to);
  expect(made).toEqual(told.slice(0, Math.max(1, made.length)));
  expect(made.length).toBeGreaterThanOrEqual(told.length - 1);
  expect(result.lostBy.refused).toBeGreaterThan(0);
  const { refused, resetBeforeWrite, resetAfterWrite, earlyClose, short, wrongBody, unanswered, status } =
    result.lostBy;
  expect(resetBeforeWrite + resetAfterWrite + earlyClose).toBeGreaterThan(0);
  expect({ short, wrongBody, unanswered, status }).toEqual({ short: 0, wrongBody: 0, unanswered: 0, status: 0 });
  expect(refused + resetBeforeWrite + resetAfterWrite + earlyClose).toBe(result.requests.lost);
  expect(result.longestGapMs).toBeGreaterThanOrEqual(150);
  for (const { overlapMs } of result.switches) expect(overlapMs).toBeLessThan(-100);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
});

test('G2, G3: handovers of the example lose no request and close no connection', async () => {
  const port = freePort();
  const env = { PORT: String(port), LOG: '1' };
  const server = programs.start(new URL('../../examples/http.mjs', import.meta.url), { env });
  await untilAccepts(port);
  const url = `http://127.0.0.1:${port}/`;
  const more = ['--signal', 'identified', '--duration', '4s', '--every', '1500ms'];
  const { code, result, details } = await runHammer(programs, url, ...LOAD, ...more);
  // One may still be under way when the load ends, and its successor is to be ended, too. One on probation refuses.
  const triggers = details.triggers as readonly object[];
  const inCharge = (): number[] =>
    [...server.stderr.matchAll(/handover\[(\d+)\]: generation \d+ is in charge/g)].map(([, pid]) => Number(pid));
  const refused = (): number => server.stderr.split('not in charge').length - 1;
  await until(() => inCharge().length + refused() === triggers.length + 1, { what: `${triggers.length} handovers` });
  const last = programs.follow(inCharge().at(-1) as number);
  expect(result.switches.length).toBeGreaterThan(0);
  expect(result.requests).toMatchObject({ lost: 0 });
  expect(result.switches[0]).toMatchObject({ from: String(server.pid) });
  expect(result.connections.closedByServer).toBe(0);
  expect(details.reconnectsForced).toBe(0);
  expect(code).toBe(0);
  last.signal('SIGTERM');
  await last.gone();
  await server.exit();
});

async function untilAccepts(port: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const accepted = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1').once('error', () => resolve(false));
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
    if (accepted) return;
  }
  throw new Error(`nobody accepts at ${port}`);
}
