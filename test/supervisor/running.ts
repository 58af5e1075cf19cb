// `handover run` as a process, or a supervisor that is called by lines of JSON, with real workers.
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import { HttpConnection, Load } from '../handover/clients.js';
import { temporaryFolder } from '../helpers/folders.js';
import { freePort } from '../helpers/ports.js';
import type { Program, StartOptions } from '../helpers/programs.js';

export { temporaryFolder as temporary } from '../helpers/folders.js';

export const EXAMPLE: string = fileURLToPath(new URL('../../examples/http.mjs', import.meta.url));
export const FOREIGN: string = fixture('foreign.mjs');

export function fixture(name: string): string {
  return fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
}

export interface Running {
  readonly supervisor: Program;
  readonly port: number;
  workers(): number[];
}

export interface RunningOptions {
  /** The script and its arguments, or with `program` another program's. */
  readonly command?: readonly string[];
  readonly program?: string;
  readonly cwd?: string;
  /** Whether the supervisor binds PORT as `web`. */
  readonly listens?: boolean;
  readonly env?: NodeJS.ProcessEnv;
  /** Descriptors it gets from 3 on; borrowed. */
  readonly fds?: readonly number[];
  /** Instead of run.mjs. */
  readonly fixture?: string;
  /** Milliseconds a new worker is watched. */
  readonly settle?: number;
}

type Start = (program: URL, options: StartOptions) => Program;

/** Resolves when the workers serve. */
export async function running(start: Start, options: readonly string[], setup: RunningOptions = {}): Promise<Running> {
  const app = await begun(start, options, setup);
  await app.supervisor.errorLine(/workers? serves? \(pid/, 20_000);
  return app;
}

/** Resolves when it has been started. */
export async function begun(
  start: Start,
  options: readonly string[],
  {
    command = [EXAMPLE],
    program = process.execPath,
    cwd,
    listens = false,
    env,
    fds = [],
    fixture: script = 'run.mjs',
    settle = 300,
  }: RunningOptions = {},
): Promise<Running> {
  const port = freePort();
  const listen = listens ? ['--listen', `web=tcp://127.0.0.1:${port}`] : [];
  const supervisor = start(new URL(`./fixtures/${script}`, import.meta.url), {
    args: [...options, ...listen, '--settle', String(settle), '--', program, ...command],
    fds,
    env: { PORT: String(port), ...env, ...(cwd !== undefined && { PWD: cwd }) },
    ...(cwd !== undefined && { cwd }),
  });
  return { supervisor, port, workers: () => childrenOf(supervisor.pid) };
}

export function childrenOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children === '' ? [] : children.split(' ').map(Number);
}

export async function stop({ supervisor }: Running): Promise<void> {
  expect(await supervisor.stop('SIGTERM', 30_000), supervisor.stderr).toEqual({ code: 0, signal: null });
}

/** Asks by signal, and waits until so many workers have been replaced. */
export async function replaced({ supervisor }: Running, count: number): Promise<void> {
  supervisor.child.kill('SIGUSR2');
  for (let i = 0; i < count; i++) await supervisor.errorLine(/worker \d+ is pid \d+ now/, 30_000);
}

export interface Clients {
  readonly load: Load;
  readonly clients: readonly HttpConnection[];
}

/** Connections that are kept alive, each with a request every few milliseconds. */
export function keepAlive(port: number, count: number, paths: readonly string[] = ['/']): Clients {
  const load = new Load();
  const clients = Array.from({ length: count }, () => new HttpConnection({ port, host: '127.0.0.1' }));
  for (const [i, client] of clients.entries()) load.loop(() => client.request(paths[i % paths.length] ?? '/'), 20);
  onTestFinished(async () => {
    await load.stop();
    for (const client of clients) client.close();
  });
  return { load, clients };
}

/** No request was lost, and every client still has its first connection, which it closes then: nobody drains for it. */
export async function expectUnharmed({ load, clients }: Clients): Promise<void> {
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(clients.map(({ opened }) => opened)).toEqual(clients.map(() => 1));
  for (const client of clients) client.close();
}

/** One request on a connection of its own: who answered. */
export async function askOnce(port: number, path = '/'): Promise<number> {
  const client = new HttpConnection({ port, host: '127.0.0.1' });
  try {
    return (await client.request(path, undefined, true)).pid;
  } finally {
    client.close();
  }
}

/** A directory with the example as `server.mjs`, which finds the package. */
export function release(root: string = temporaryFolder()): string {
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  symlinkSync(fileURLToPath(new URL('../..', import.meta.url)), join(root, 'node_modules', 'handover'));
  cpSync(EXAMPLE, join(root, 'server.mjs'));
  return root;
}
