// G2 for jobs: a BullMQ worker, with the SIGTERM handler of its documentation, finishes what it has begun, and a successor
// does the rest. Each job is done once.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { usePrograms } from '../helpers/programs.js';
import { fixture, load, Served } from './served.js';

expectNoLeaks();
const { start } = usePrograms();
const hasRedis = spawnSync('redis-server', ['--version']).error === undefined;
const JOBS = 24;

interface Store {
  lrange(key: string, from: number, to: number): Promise<string[]>;
  llen(key: string): Promise<number>;
  quit(): Promise<unknown>;
}

interface Queue {
  add(name: string, data: object): Promise<unknown>;
  close(): Promise<void>;
}

/** Debian's redis-server with nothing in it, ended with the test. */
async function startRedis(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'handover-redis-'));
  const port = freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder];
  const server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(async () => {
    const ended = once(server, 'exit');
    server.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  for await (const line of createInterface(server.stdout)) if (/Ready to accept/.test(line)) return port;
  throw new Error('redis-server ended before it was ready');
}

function open(port: number): { readonly store: Store; readonly queue: Queue } {
  const { Redis } = load<{ Redis: new (port: number) => Store }>('ioredis');
  const { Queue } = load<{ Queue: new (name: string, options: object) => Queue }>('bullmq');
  const opened = { store: new Redis(port), queue: new Queue('jobs', { connection: { host: '127.0.0.1', port } }) };
  onTestFinished(async () => {
    await opened.queue.close();
    await opened.store.quit();
  });
  return opened;
}

/** A worker, and a queue and a store beside it. */
async function working(): Promise<ReturnType<typeof open> & { readonly served: Served }> {
  const port = await startRedis();
  const { store, queue } = open(port);
  const served = await Served.start(start, {
    script: fixture('bullmq.mjs'),
    args: () => [],
    env: () => ({ REDIS_PORT: String(port) }),
  });
  return { store, queue, served };
}

/** Resolves when so many entries are in a list. */
async function reaches(store: Store, key: string, count: number): Promise<void> {
  const patience = AbortSignal.timeout(90_000);
  while ((await store.llen(key)) < count) patience.throwIfAborted();
}

const jobsOf = (entries: readonly string[]): string[] => entries.map((entry) => entry.split(' ')[0] ?? '').sort();

it('each of 24 jobs is begun and done once, over three handovers and a SIGTERM', async ({ skip }) => {
  skip(!hasRedis, 'there is no redis-server');
  const { store, queue, served } = await working();
  const names = Array.from({ length: JOBS }, (_, i) => `job${i}`);
  // A quarter for each of the four processes, which finds jobs to do however long the handover to it took.
  const quarter = JOBS / 4;
  for (let i = 0; i < 4; i++) {
    for (const name of names.slice(i * quarter, (i + 1) * quarter)) await queue.add(name, {});
    // In the middle of jobs.
    await reaches(store, 'begun', i * quarter + 1);
    if (i < 3) await served.handOver();
  }
  await reaches(store, 'done', JOBS);
  expect(jobsOf(await store.lrange('done', 0, -1))).toEqual(names.toSorted());
  expect(jobsOf(await store.lrange('begun', 0, -1))).toEqual(names.toSorted());
  const pids = new Set((await store.lrange('done', 0, -1)).map((entry) => entry.split(' ')[1]));
  expect(pids.size).toBe(4);
  await served.stop();
}, 180_000);

it('SIGTERM in the middle of two jobs ends the process when they are done, as in plain Node', async ({ skip }) => {
  skip(!hasRedis, 'there is no redis-server');
  const { store, queue, served } = await working();
  for (const name of ['first', 'second', 'third', 'fourth']) await queue.add(name, {});
  await reaches(store, 'begun', 2);
  served.program.child.kill('SIGTERM');
  expect(await served.program.exit(60_000)).toEqual({ code: 0, signal: null });
  expect(await store.llen('begun')).toBe(2);
  expect(await store.llen('done')).toBe(2);
}, 180_000);
