// The demo driving a stand-in for the example: what it reports when the server is good, and each way in which it is not.

import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { processesMarked } from '../helpers/processes.js';
import { fixture, node, type Running } from './helpers.js';

const linux = process.platform === 'linux';

function demo(mode: string, ...args: string[]): Running & { left(): number[] } {
  const mark = randomUUID();
  const running = node([fixture('demo-of.mjs'), fixture('stand-in.mjs'), ...args], { STAND_IN: mode, TEST_MARK: mark });
  return { ...running, left: () => processesMarked('TEST_MARK', mark).map(({ pid }) => pid) };
}

function lastLine(text: string): unknown {
  return JSON.parse(text.trimEnd().split('\n').at(-1) ?? '');
}

test('--json: the last line is the outcome, nothing else is on stdout', async () => {
  const { ended, left } = demo('', '--json', '--handovers', '2', '--seconds', '2');
  const { code, stdout } = await ended;
  expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  expect(lastLine(stdout)).toEqual({
    handovers: 2,
    requests: { ok: expect.any(Number), failed: 0 },
    // 37 of 40 moved in each handover, says the stand-in; its last generation was not superseded.
    connections: { opened: expect.any(Number), closedByServer: 0, migrated: 74, drained: 6 },
    websockets: { open: 50, closed: 0, messagesLost: 0 },
    switchMs: [expect.any(Number), expect.any(Number)],
    generations: [1, 2, 3],
  });
  expect(code).toBe(0);
  expect(left()).toEqual([]);
});

test('without --json: the table has a row for each handover', async () => {
  const { ended } = demo('', '--handovers', '1', '--seconds', '1');
  const { code, stdout } = await ended;
  expect(stdout).toMatch(/^1 +1 -> 2 +\d+ -> \d+ +[\d.]+ ms +[\d,]+$/m);
  expect(stdout).toMatch(/^requests failed +0$/m);
  expect(code).toBe(0);
});

test('a wrong answer is a failed request: exit code 1', async () => {
  const { ended, left } = demo('wrong-body', '--json', '--handovers', '1', '--seconds', '1');
  const { code, stdout, stderr } = await ended;
  const { requests } = lastLine(stdout) as { requests: { failed: number } };
  expect(requests.failed).toBeGreaterThan(0);
  expect(stderr).toContain('wrongBody /: sha-256 of the body differs');
  expect(code).toBe(1);
  expect(left()).toEqual([]);
});

test('G3: a server that closes what was open: exit code 1, with the connections counted', async () => {
  const { ended, left } = demo('close', '--json', '--handovers', '1', '--seconds', '1');
  const { code, stdout, stderr } = await ended;
  const { connections, websockets } = lastLine(stdout) as Record<string, Record<string, number>>;
  expect(connections?.closedByServer).toBeGreaterThan(0);
  expect(websockets).toMatchObject({ closed: 50 });
  expect(stderr).toMatch(/\d+ connections closed by the server/);
  expect(code).toBe(1);
  expect(left()).toEqual([]);
});

test('a message that comes twice: exit code 1', async () => {
  const { ended } = demo('forgetful', '--json', '--handovers', '1', '--seconds', '2');
  const { code, stdout, stderr } = await ended;
  expect((lastLine(stdout) as { websockets: { messagesLost: number } }).websockets.messagesLost).toBeGreaterThan(0);
  expect(stderr).toMatch(/\d+ messages lost, doubled or out of order/);
  expect(code).toBe(1);
});

test('a failed handover: exit code 1, told with its code', async () => {
  const { ended, left } = demo('fail-upgrade', '--json', '--handovers', '1', '--seconds', '1');
  const { code, stdout, stderr } = await ended;
  expect(lastLine(stdout)).toMatchObject({ handovers: 0, requests: { failed: 0 }, generations: [1] });
  expect((lastLine(stdout) as { requests: { ok: number } }).requests.ok).toBeGreaterThan(0);
  expect(stderr).toContain('failed: ERR_STAND_IN in phase prepare, the old generation is serving');
  expect(code).toBe(1);
  expect(left()).toEqual([]);
});

test('a generation that dies in charge: exit code 1', async () => {
  const { ended, left } = demo('die', '--json', '--handovers', '1', '--seconds', '5');
  const { code, stderr } = await ended;
  expect(stderr).toMatch(/generation 2 \(pid \d+\) died in charge/);
  expect(code).toBe(1);
  expect(left()).toEqual([]);
});

test('a generation that dies just before the end: exit code 1, as if it had died earlier', async () => {
  const { ended, left } = demo('die', '--json', '--handovers', '1', '--seconds', '2');
  const { code, stdout, stderr } = await ended;
  expect(stderr).toMatch(/generation 2 \(pid \d+\) died in charge/);
  const { websockets } = lastLine(stdout) as { websockets: { open: number } };
  expect(websockets.open).toBeGreaterThanOrEqual(0);
  expect(code).toBe(1);
  expect(left()).toEqual([]);
});

test('a server that does not start: exit code 1, with what it wrote', async () => {
  const { ended } = demo('never-start', '--json');
  const { code, stderr } = await ended;
  expect(stderr).toContain('the server ended before it was in charge: exit code 1');
  expect(stderr).toContain('nothing works here');
  expect(code).toBe(1);
});

test('an interruption ends every process: exit code 130', async () => {
  const { child, says, ended, left } = demo('', '--seconds', '60');
  await says('generation 1');
  child.kill('SIGINT');
  const { code } = await ended;
  expect(code).toBe(130);
  expect(left()).toEqual([]);
});

test('a server deaf to SIGTERM is killed on the second interruption, and named', async () => {
  const { child, says, output, ended, left } = demo('deaf', '--seconds', '60');
  await says('generation 1');
  child.kill('SIGINT');
  // One Ctrl-C may arrive twice: only a later one is a second one. None once the server is gone: the demo ends then.
  const again = setInterval(() => {
    if (!linux || left().length > 1) child.kill('SIGINT');
  }, 100);
  const { code } = await ended;
  clearInterval(again);
  expect(output.stderr).toMatch(/had to be killed, as they did not end by SIGTERM: pid \d+/);
  expect(code).toBe(130);
  expect(left()).toEqual([]);
});
