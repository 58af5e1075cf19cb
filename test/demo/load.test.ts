// The load client against a server that misbehaves on command: each failure is counted once, under its name.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Counts, load, type Ports, startMisbehaving } from './helpers.js';

const body = 'a right answer\n';
const sha256 = createHash('sha256').update(body).digest('hex');
const connections = 3;
const limit = 4;
const requests = connections * limit;

let ports: Ports;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ ports, stop } = await startMisbehaving());
});
afterAll(() => stop());

function drive(
  path: string,
  options: { port?: number; kind?: string; think?: number; deadline?: number } = {},
): Promise<Counts> {
  const { port = ports.main, kind = 'keepAlive', think, deadline = 5_000 } = options;
  return load({
    host: '127.0.0.1',
    port,
    deadline,
    identifyBy: 'x-pid',
    routes: [{ path, status: 200, length: body.length, sha256 }],
    groups: [{ kind, connections, limit, think }],
  });
}

function onlyFailures({ failures }: Counts): Record<string, number> {
  return Object.fromEntries(Object.entries(failures).filter(([, times]) => times > 0));
}

describe('right answers', () => {
  test('keep-alive clients use one connection each', async () => {
    const counts = await drive('/right');
    expect(counts).toMatchObject({ ok: requests, failed: 0, opened: connections, closedByServer: 0 });
    expect(Object.values(counts.answers)).toEqual([requests]);
  });

  test('one-connection-per-request clients use one for each request', async () => {
    expect(await drive('/right', { kind: 'oneShot' })).toMatchObject({
      ok: requests,
      failed: 0,
      opened: requests,
      closedByServer: 0,
    });
  });

  test('an answer may come in any number of pieces', async () => {
    expect(await drive('/byte-by-byte')).toMatchObject({ ok: requests, failed: 0, opened: connections });
  });

  test('a connection ended by `Connection: close` counts as closed by the server, not as a failure', async () => {
    expect(await drive('/connection-close')).toMatchObject({
      ok: requests,
      failed: 0,
      opened: requests,
      closedByServer: requests,
    });
  });

  test('`Connection: close` to a client that asked for it is not the doing of the server', async () => {
    const counts = await drive('/connection-close', { kind: 'oneShot' });
    // Only two loops of three ask for it (every second one, from the first).
    expect(counts).toMatchObject({ ok: requests, failed: 0, closedByServer: limit });
  });

  test('a connection closed between two requests counts as closed by the server, not as a failure', async () => {
    // The server closes with its answer: one write, so the FIN is there before the next request, which is a while away.
    expect(await drive('/right-then-close', { think: 300 })).toMatchObject({
      ok: requests,
      failed: 0,
      opened: requests,
    });
  });
});

describe('failures', () => {
  test.each([
    ['/reset-after-reading', 'reset'],
    ['/reset-in-body', 'reset'],
    ['/close-unanswered', 'earlyClose'],
    ['/close-in-head', 'earlyClose'],
    ['/close-in-body', 'short'],
    ['/shorter-body', 'short'],
    ['/longer-body', 'wrongBody'],
    ['/other-body', 'wrongBody'],
    ['/not-http', 'wrongBody'],
    ['/no-length', 'wrongBody'],
    ['/wrong-status', 'status'],
    ['/bare-408', 'status'],
    ['/answer-twice', 'unasked'],
  ])('%s is counted as %s, each time on a new connection', async (path, kind) => {
    for (const client of ['keepAlive', 'oneShot']) {
      const counts = await drive(path, { kind: client });
      expect(onlyFailures(counts)).toEqual({ [kind]: requests });
      expect(counts).toMatchObject({ ok: 0, failed: requests, opened: requests, closedByServer: 0 });
    }
  });

  test.each(['/never', '/never-whole'])('%s is counted as unanswered at the deadline', async (path) => {
    const counts = await drive(path, { deadline: 100 });
    expect(onlyFailures(counts)).toEqual({ unanswered: requests });
    expect(counts).toMatchObject({ ok: 0, failed: requests });
  });

  test('a port nobody listens on refuses every request', async () => {
    const counts = await drive('/right', { port: ports.refusing });
    expect(onlyFailures(counts)).toEqual({ refused: requests });
    expect(counts).toMatchObject({ ok: 0, failed: requests, opened: 0 });
  });

  test('a reset before the request was read is a reset', async () => {
    const counts = await drive('/right', { port: ports.resetting });
    expect(onlyFailures(counts)).toEqual({ reset: requests });
    expect(counts).toMatchObject({ ok: 0, failed: requests });
  });
});
