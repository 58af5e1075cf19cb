// `handover run` with real workers under load: it keeps the pid and the port whatever becomes of the workers.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HttpConnection, Load } from '../handover/clients.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Program, usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { freePort } from './ports.js';

expectNoLeaks();
const { start } = usePrograms();

const EXAMPLE = fileURLToPath(new URL('../../examples/http.mjs', import.meta.url));
const FOREIGN = fileURLToPath(new URL('./fixtures/foreign.mjs', import.meta.url));
const CONNECTIONS = Number(process.env.HANDOVER_CONNECTIONS ?? 1_500);

interface Running {
  readonly supervisor: Program;
  readonly port: number;
  workers(): number[];
}

async function running(
  options: readonly string[],
  { command = [EXAMPLE], cwd, listens = false }: { command?: readonly string[]; cwd?: string; listens?: boolean } = {},
): Promise<Running> {
  const port = await freePort();
  const listen = listens ? ['--listen', `web=tcp://127.0.0.1:${port}`] : [];
  const supervisor = start(new URL('./fixtures/run.mjs', import.meta.url), {
    args: [...options, ...listen, '--settle', '300', '--', process.execPath, ...command],
    env: { PORT: String(port), ...(cwd !== undefined && { PWD: cwd }) },
    ...(cwd !== undefined && { cwd }),
  });
  await supervisor.errorLine(/workers? serves? \(pid/);
  return { supervisor, port, workers: () => childrenOf(supervisor.pid) };
}

function childrenOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children === '' ? [] : children.split(' ').map(Number);
}

async function stop({ supervisor }: Running): Promise<void> {
  expect(await supervisor.stop('SIGTERM', 30_000)).toEqual({ code: 0, signal: null });
}

async function replaced({ supervisor }: Running, count: number): Promise<void> {
  supervisor.child.kill('SIGUSR2');
  for (let i = 0; i < count; i++) await supervisor.errorLine(/worker \d+ is pid \d+ now/, 30_000);
}

function keepAlive(port: number, count: number): { readonly load: Load; readonly clients: readonly HttpConnection[] } {
  const load = new Load();
  const clients = Array.from({ length: count }, () => new HttpConnection({ port, host: '127.0.0.1' }));
  for (const client of clients) load.loop(() => client.request('/'), 20);
  onTestFinished(async () => {
    await load.stop();
    for (const client of clients) client.close();
  });
  return { load, clients };
}

describe('handover run', () => {
  it('G2, G3: ten upgrades in a row under load lose no request and close no connection; the pid stays', async () => {
    const app = await running(['--workers', '2']);
    const { load, clients } = keepAlive(app.port, 20);
    const fresh = new HttpConnection({ port: app.port, host: '127.0.0.1' });
    load.loop(() => fresh.request('/', undefined, true), 5);
    const first = app.workers();
    for (let upgrade = 0; upgrade < 10; upgrade++) await replaced(app, 2);
    await until(() => app.workers().length === 2, { what: 'the old workers to leave' });
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(clients.map(({ opened }) => opened)).toEqual(clients.map(() => 1));
    expect(load.answers.size).toBeGreaterThan(10);
    expect(app.workers().some((pid) => first.includes(pid))).toBe(false);
    await stop(app);
  }, 120_000);

  it('G1: kill -9 of a worker refuses no new connection; it comes back', async () => {
    const app = await running(['--workers', '2']);
    const refused: string[] = [];
    let answered = 0;
    let isStopped = false;
    const loop = async (): Promise<void> => {
      while (!isStopped) {
        const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
        await client.request('/', undefined, true).then(
          () => answered++,
          (error: Error) => /ECONNREFUSED/.test(error.message) && refused.push(error.message),
        );
        client.close();
      }
    };
    const loops = Array.from({ length: 4 }, loop);
    for (let kill = 0; kill < 3; kill++) {
      const [victim = 0] = app.workers();
      process.kill(victim, 'SIGKILL');
      await until(() => app.workers().length === 2 && !app.workers().includes(victim), { what: 'a new worker' });
      const before = answered;
      await until(() => answered > before + 20, { what: 'answers' });
    }
    isStopped = true;
    await Promise.all(loops);
    expect(refused).toEqual([]);
    await stop(app);
  });

  it('G1: with one worker killed, who connects waits and is answered', async () => {
    const app = await running([], { listens: true, command: [FOREIGN] });
    const [victim = 0] = app.workers();
    process.kill(victim, 'SIGKILL');
    await until(() => app.workers().length === 0, { what: 'its end' });
    const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
    expect((await client.request('/')).pid).not.toBe(victim);
    client.close();
    await stop(app);
  });

  it('G5: a broken release stops the roll with the old workers serving; mended, it rolls on', async () => {
    const root = mkdtempSync(join(tmpdir(), 'handover-run-'));
    onTestFinished(() => rmSync(root, { recursive: true }));
    const entry = join(root, 'server.mjs');
    mkdirSync(join(root, 'node_modules'));
    symlinkSync(fileURLToPath(new URL('../..', import.meta.url)), join(root, 'node_modules', 'handover'));
    cpSync(EXAMPLE, entry);
    const app = await running(['--workers', '2'], { command: ['server.mjs'], cwd: root });
    const { load, clients } = keepAlive(app.port, 6);
    const before = app.workers();
    writeFileSync(entry, 'this is no JavaScript');
    app.supervisor.child.kill('SIGHUP');
    await app.supervisor.errorLine(/the roll paused/, 30_000);
    expect(app.supervisor.stderr).toContain('SyntaxError');
    expect(app.workers()).toEqual(before);
    cpSync(EXAMPLE, entry);
    await load.answered(before[0] ?? 0, 5);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(clients.map(({ opened }) => opened)).toEqual(clients.map(() => 1));
    await stop(app);
  });

  it('G3: a worker that leaves gives its connections to the others', async () => {
    const app = await running(['--workers', '3']);
    const { load, clients } = keepAlive(app.port, 30);
    const before = app.workers();
    for (const pid of before) await load.answered(pid, 3);
    app.supervisor.child.kill('SIGTTOU');
    await app.supervisor.errorLine(/2 workers serve/, 30_000);
    expect(app.workers()).toHaveLength(2);
    const [left = 0] = app.workers();
    await load.answered(left, 20);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(clients.map(({ opened }) => opened)).toEqual(clients.map(() => 1));
    await stop(app);
  });

  it('G1: a worker that knows nothing of this package gets its socket, and a rolling restart', async () => {
    const app = await running(['--workers', '2'], { command: [FOREIGN], listens: true });
    const client = new HttpConnection({ port: app.port, host: '127.0.0.1' });
    const load = new Load();
    load.loop(() => client.request('/', undefined, true), 2);
    await replaced(app, 2);
    await load.stop();
    expect(load.failures).toEqual([]);
    await until(() => app.workers().length === 2, { what: 'the old workers to leave' });
    await stop(app);
  });

  it(`G3: ${CONNECTIONS} idle connections over two workers survive an upgrade`, async () => {
    const app = await running(['--workers', '2']);
    const sockets: Socket[] = [];
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
    });
    let closed = 0;
    for (let i = 0; i < CONNECTIONS; i++) {
      const socket = connect({ port: app.port, host: '127.0.0.1' });
      socket.on('close', () => closed++).on('error', () => {});
      sockets.push(socket);
      if (i % 200 === 0) await new Promise((resolve) => socket.once('connect', resolve));
    }
    await ask(sockets);
    const before = app.workers();
    await replaced(app, 2);
    await until(() => app.workers().length === 2 && !app.workers().includes(before[0] ?? 0), {
      what: 'the old ones to leave',
      timeout: 30_000,
    });
    const pids = await ask(sockets);
    expect(closed).toBe(0);
    expect([...pids].every((pid) => !before.includes(pid))).toBe(true);
    expect(readdirSync(`/proc/${app.workers()[0]}/fd`).length).toBeGreaterThan(CONNECTIONS / 10);
    for (const socket of sockets) socket.destroy();
    await stop(app);
  }, 120_000);
});

/** Every connection sends a request; resolves with who answered. */
async function ask(sockets: readonly Socket[]): Promise<Set<number>> {
  const pids = new Set<number>();
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let text = '';
          const onData = (chunk: Buffer): void => {
            text += chunk.toString('latin1');
            if (!text.endsWith('hello\n')) return;
            socket.off('data', onData);
            pids.add(Number(/x-pid: (\d+)/i.exec(text)?.[1]));
            resolve();
          };
          socket.on('data', onData).once('close', () => reject(new Error('closed')));
          socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        }),
    ),
  );
  return pids;
}
