// G5: the servers of a process as one: a drain that is recalled ends nothing, at its deadline neither.
import * as http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { ManagedServer } from '../../lib/protocols/managed-server.js';
import type { Servers } from '../../lib/transfer/servers.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { until } from '../helpers/until.js';
import { counted, PREDECESSOR, serving } from './sandbox.js';
import { Wire } from './wire.js';

expectNoLeaks();

const LIMITS = { idleTimeout: 0, spread: 0, moves: false };

interface Scene {
  readonly servers: Servers;
  readonly managed: ManagedServer;
  readonly port: number;
  /** Responses that wait. */
  readonly held: http.ServerResponse[];
}

async function scene(): Promise<Scene> {
  const held: http.ServerResponse[] = [];
  const server = http.createServer((request, response) => {
    response.setHeader('x-pid', PREDECESSOR).setHeader('content-length', 4);
    if (request.url === '/held') held.push(response);
    else response.end('here');
  });
  return { ...(await serving(server)), held };
}

test('G5: a recalled process cuts no live connection at the deadline of the drain, busy or idle', async () => {
  const { servers, managed, held, port } = await scene();
  const [busy, idle] = [await new Wire(port).connected(), await new Wire(port).connected()];
  await idle.ask('/first');
  busy.get('/held');
  await until(() => held.length === 1, { what: 'the request' });
  servers.suspendAll();
  const recall = new AbortController();
  const drained = servers.drainAll({ ...LIMITS, timeout: 400, recalled: recall.signal });
  recall.abort();
  await servers.resumeAll({ reopen: false });
  expect(await drained).toEqual({ cut: 0, cutConnections: [] });
  await pause(700);
  expect([busy.end, idle.end, managed.connectionCount]).toEqual([undefined, undefined, 2]);
  held[0]?.end('held');
  expect(await busy.response()).toMatchObject({ status: 200 });
  const { status, head } = await idle.ask('/on');
  expect([status, head.includes('Connection: close')]).toEqual([200, false]);
  expect((await new Wire(port).connected()).connects).toBe(1);
  // The response that had been told of the drain ends its connection: one of two is left, and a new one.
  busy.close();
  await counted({ managed }, 2);
});

test('G2: without a recall the deadline cuts what is left, and says what that was', async () => {
  const { servers, held, port } = await scene();
  const busy = await new Wire(port).connected();
  busy.get('/held');
  await until(() => held.length === 1, { what: 'the request' });
  servers.suspendAll();
  const { cut, cutConnections } = await servers.drainAll({ ...LIMITS, timeout: 300 });
  expect([cut, cutConnections.map(({ state, reason }) => [state, reason])]).toEqual([1, [['busy', 'drainTimeout']]]);
  await busy.ended();
});

test('G5: one that cannot listen again keeps none of the others from it', async () => {
  const { servers, managed, port } = await scene();
  const broken = {
    ...{ accept: async () => {}, suspend: () => {}, cut: () => 0, finish: () => {} },
    resume: () => Promise.reject(new Error('EMFILE')),
  };
  await servers.add('broken', broken as never, () => ({ fd: -1 }));
  servers.suspendAll();
  await servers.resumeAll({ reopen: false });
  const client = await new Wire(port).connected();
  expect((await client.ask('/')).status).toBe(200);
  await counted({ managed }, 1);
  servers.remove('broken');
});
