// G2, G3: undici through three handovers under load, one request at a time on each connection and pipelined: not one
// error, not one new connection.

import { Pool } from 'undici';
import { expect, it } from 'vitest';
import { useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { portOf } from './generations.js';
import { failureOf, handOver, loaded, poolLoad } from './loaded.js';

expectNoLeaks();
const { chain } = useApps();

const CONNECTIONS = 10;
const HANDOVERS = 3;

it.each([1, 8])('undici, pipelining %i', async (pipelining) => {
  const { chain: processes, first } = await chain(loaded());
  const port = await portOf(first);
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: CONNECTIONS, pipelining });
  const disconnects: string[] = [];
  pool.on('disconnect', (_origin, _targets, error) => disconnects.push(error.message));
  const load = poolLoad(pool, CONNECTIONS * pipelining * 2);
  const { apps, ports } = await handOver(processes, first, HANDOVERS, failureOf(load));
  await load.stop();
  expect([load.failures, disconnects]).toEqual([[], []]);
  expect(ports.size).toBe(CONNECTIONS);
  expect([...load.answers.keys()]).toEqual(apps.map(({ pid }) => pid));
  await pool.destroy();
  await apps.at(-1)?.close();
}, 30_000);
