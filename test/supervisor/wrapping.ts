// A server that a worker starts: which process it is, and that it is handed over as if it were the worker.
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'vitest';
import { gone, identify, type ProcessId } from '../helpers/processes.js';
import { until } from '../helpers/until.js';
import {
  askOnce,
  expectUnharmed,
  keepAlive,
  type Running,
  type RunningOptions,
  replaced,
  running,
  stop,
} from './running.js';

export async function serverOf({ port }: Running): Promise<ProcessId> {
  const id = identify(await askOnce(port));
  if (!id) throw new Error('it has gone');
  return id;
}

/** The path in the environment of a worker. */
export function doorOf({ workers }: Running): string {
  const variables = readFileSync(`/proc/${workers()[0]}/environ`, 'utf8').split('\0');
  return variables.find((text) => text.startsWith('HANDOVER_SUPERVISOR='))?.split(':')[2] ?? '';
}

/** Replaces the worker under load, and ends it: no request fails, no connection is closed, what has begun is answered. */
export async function handsOver(start: Parameters<typeof running>[0], setup: RunningOptions): Promise<void> {
  const app = await running(start, [], setup);
  const traffic = keepAlive(app.port, 5);
  await until(() => traffic.load.total > 10, { what: 'answers', timeout: 20_000 });
  const first = await serverOf(app);
  await replaced(app, 1);
  await gone(first, 20_000);
  const second = await askOnce(app.port);
  expect(app.supervisor.stderr).toContain(`worker 0 is pid ${second} now`);
  await traffic.load.answered(second, 5);
  await expectUnharmed(traffic);
  const slow = askOnce(app.port, '/slow');
  // Accepted before this one.
  await askOnce(app.port);
  const door = doorOf(app);
  await stop(app);
  expect(await slow).toBe(second);
  expect(existsSync(dirname(door))).toBe(false);
}
