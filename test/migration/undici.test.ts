// G2, G3: undici through three handovers under load, one request at a time on each connection and pipelined: not one
// error, not one new connection.

import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { expect, it } from 'vitest';
import { type App, type Chain, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { portOf } from './generations.js';
import { failureOf, handOver, loaded, type Passage, poolLoad } from './loaded.js';

expectNoLeaks();
const { chain } = useApps();

const CONNECTIONS = 10;
const HANDOVERS = 3;

it.each([
  ['', 1],
  [', pipelining', 8],
])(
  'undici%s',
  async (_, pipelining) => {
    const { chain: processes, first } = await chain(loaded());
    const pool = new Pool(`http://127.0.0.1:${await portOf(first)}`, { connections: CONNECTIONS, pipelining });
    const { ports } = await keepsConnections(processes, first, pool, CONNECTIONS * pipelining * 2);
    expect(ports.size).toBe(CONNECTIONS);
  },
  30_000,
);

it('undici, to a Unix socket', async () => {
  const path = join(tmpdir(), `handover-test-${randomUUID()}.sock`);
  const { chain: processes, first } = await chain(loaded({}, { path }));
  const pool = new Pool('http://localhost', { connections: CONNECTIONS, socketPath: path });
  await keepsConnections(processes, first, pool, CONNECTIONS * 2);
}, 30_000);

async function keepsConnections(processes: Chain, first: App, pool: Pool, concurrency: number): Promise<Passage> {
  let connects = 0;
  const disconnects: string[] = [];
  pool.on('connect', () => connects++);
  pool.on('disconnect', (_origin, _targets, error) => disconnects.push(error.message));
  const load = poolLoad(pool, concurrency);
  const passage = await handOver(processes, first, HANDOVERS, failureOf(load));
  await load.stop();
  expect([load.failures, disconnects, connects]).toEqual([[], [], CONNECTIONS]);
  expect([...load.answers.keys()]).toEqual(passage.apps.map(({ pid }) => pid));
  await pool.destroy();
  await passage.apps.at(-1)?.close();
  return passage;
}
