// Inside node:cluster and worker threads: what listens, listens on a socket of its own; a handover is refused and says why.
import { describe, expect, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { usePrograms } from '../helpers/programs.js';
import { HttpConnection } from './clients.js';

expectNoLeaks();
const { start } = usePrograms();

interface Serves {
  readonly pid: number;
  readonly thread: number;
  readonly port: number;
  readonly upgrade: object;
}

const begin = (where: 'cluster' | 'thread', options: object) =>
  start(new URL('fixtures/clustered.mjs', import.meta.url), { args: [where, JSON.stringify(options)] });

const refused = (why: RegExp): object => ({
  code: 'ERR_HANDOVER_WOULD_ORPHAN',
  message: expect.stringMatching(why),
  stillServing: true,
});

async function ask(port: number): Promise<number> {
  const connection = new HttpConnection({ port, host: '127.0.0.1' });
  const { pid } = await connection.request('/', undefined, true);
  connection.close();
  return pid;
}

describe('node:cluster', () => {
  it('workers listen by themselves: with reusePort at one port', async () => {
    const port = freePort();
    const program = begin('cluster', { port, host: '127.0.0.1', reusePort: true });
    const workers = [await program.message<Serves>('serves'), await program.message<Serves>('serves')];
    const pids = new Set(workers.map(({ pid }) => pid));
    expect(pids.size).toBe(2);
    for (const { upgrade } of workers) expect(upgrade).toMatchObject(refused(/a cluster primary/));
    // The kernel deals connections out by the client's port.
    const answered = new Set<number>();
    for (let i = 0; i < 100 && answered.size < 2; i++) answered.add(await ask(port));
    expect(answered).toEqual(pids);
    expect(await program.message('primary')).toMatchObject({ upgrade: refused(/primary of workers.*handover run/) });
    expect(await program.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('without it the address is in use for the second, as it is for any other process', async () => {
    const port = freePort();
    const program = begin('cluster', { port, host: '127.0.0.1' });
    const { pid } = await program.message<Serves>('serves');
    expect(await program.message('failed')).toMatchObject({ code: 'EADDRINUSE', syscall: 'bind', port });
    expect(await ask(port)).toBe(pid);
    await program.message('primary');
    expect(await program.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});

describe('a worker thread', () => {
  it('listens, drains when told, and leaves handovers to the main thread', async () => {
    const program = begin('thread', { port: 0, host: '127.0.0.1' });
    const { pid, thread, port, upgrade } = await program.message<Serves>('serves');
    expect([pid, thread]).toEqual([program.pid, 1]);
    expect(upgrade).toMatchObject(refused(/main thread/));
    expect(await ask(port)).toBe(pid);
    expect(await program.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
