// The real thing: `npm run demo` with serve().

import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { processesMarked } from '../helpers/processes.js';
import { type Running, start } from './helpers.js';

function npmRunDemo(...args: string[]): Running & { left(): number[] } {
  const mark = randomUUID();
  const running = start('npm', ['run', 'demo', '--', ...args], { TEST_MARK: mark });
  return { ...running, left: () => processesMarked('TEST_MARK', mark).map(({ pid }) => pid) };
}

test('G1, G2, G3: two handovers under load, no request or message lost, no connection closed', async () => {
  const { ended, left } = npmRunDemo('--json', '--handovers', '2', '--seconds', '2');
  const { code, stdout } = await ended;
  const outcome = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
  expect(outcome).toEqual({
    handovers: 2,
    requests: { ok: expect.any(Number), failed: 0 },
    connections: {
      opened: expect.any(Number),
      closedByServer: 0,
      migrated: expect.any(Number),
      drained: expect.any(Number),
    },
    websockets: { open: 50, closed: 0, messagesLost: 0 },
    switchMs: [expect.any(Number), expect.any(Number)],
    generations: [1, 2, 3],
  });
  // Each handover: the 200 that are held, the 50 WebSockets, and most of the busy ones.
  expect(outcome.connections.migrated).toBeGreaterThanOrEqual(2 * 250);
  expect(code).toBe(0);
  expect(left()).toEqual([]);
});

test('G7: Ctrl-C in the middle of the handovers leaves no process', async () => {
  const { child, says, ended, left } = npmRunDemo('--handovers', '200', '--seconds', '10');
  await says('generation 2');
  process.kill(-(child.pid as number), 'SIGINT'); // as a terminal does: the whole foreground process group
  await ended;
  expect(left()).toEqual([]);
});
