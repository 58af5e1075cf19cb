// What `handover/auto` leaves alone: threads, workers of node:cluster, processes that the server starts.
import { describe, expect, it } from 'vitest';
import { HttpConnection } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { freePort } from '../helpers/ports.js';
import { usePrograms } from '../helpers/programs.js';
import { AUTO } from './preloaded.js';

expectNoLeaks();
const { start, follow } = usePrograms();

interface Told {
  readonly pid: number;
  readonly port: number;
  readonly signals: number;
  readonly closes: boolean;
}

const program = (name: string, env: Record<string, string> = {}) =>
  start(new URL(`fixtures/${name}`, import.meta.url), {
    execArgv: ['--import', AUTO],
    env: { ...env, HANDOVER_AUTO: '{"probation":{"duration":0},"log":true}' },
  });

describe('left alone', () => {
  it('G6: a forked child and a thread listen by themselves, though they preload it, too', async () => {
    const family = program('family.mjs');
    const [server, child, thread] = await Promise.all(
      ['server', 'child', 'thread'].map((role) => family.message<Told>(role)),
    );
    expect([server, child, thread].map((told) => told?.closes)).toEqual([true, false, false]);
    expect([server?.signals, child?.signals]).toEqual([1, 0]);
    for (const told of [server, child, thread]) {
      const response = await fetch(`http://127.0.0.1:${told?.port}`, { headers: { connection: 'close' } });
      expect(response.status).toBe(200);
      await response.text();
    }
    const forked = follow(child?.pid ?? 0);
    expect(await family.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    await forked.gone();
  });

  it('a cluster whose primary serves nothing: a handover is refused for what it is, not as too early', async () => {
    const port = freePort();
    const cluster = program('cluster.mjs', { PORT: `${port}`, BARE: '1' });
    const { pid } = await cluster.message<Told>('primary');
    await cluster.message('worker');
    process.kill(pid, 'SIGUSR2');
    await cluster.errorLine(/ERR_HANDOVER_WOULD_ORPHAN: this process is kept by node:cluster, as the primary/);
    expect(await cluster.stop('SIGTERM', 20_000)).toEqual({ code: 0, signal: null });
  });

  it('a cluster: its workers share their listener as they do, and a handover of the primary is refused', async () => {
    const port = freePort();
    const cluster = program('cluster.mjs', { PORT: `${port}` });
    const primary = await cluster.message<Told>('primary');
    const workers = [await cluster.message<Told>('worker'), await cluster.message<Told>('worker')].map(
      ({ pid }) => pid,
    );
    const ask = async (at: number): Promise<number> => {
      const connection = new HttpConnection({ port: at, host: '127.0.0.1' });
      const { pid } = await connection.request('/', undefined, true);
      connection.close();
      return pid;
    };
    const answered = new Set([await ask(port), await ask(port), await ask(port), await ask(port)]);
    expect([...answered].sort()).toEqual(workers.sort());
    expect(await ask(primary.port)).toBe(primary.pid);
    process.kill(primary.pid, 'SIGUSR2');
    expect((await cluster.errorLine(/.*primary of workers.*/))[0]).toContain('node:cluster');
    // The log names what was claimed: the primary's own alone.
    expect(cluster.stderr).not.toContain(`:${port}`);
    expect(workers).toContain(await ask(port));
    expect(await cluster.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
