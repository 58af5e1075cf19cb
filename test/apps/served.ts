// A server from npm as its users start it, handed over under load, without a line of its code changed.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { holdersOf } from '../../lib/fd/holders.js';
import { freePort, untilAccepted } from '../helpers/ports.js';
import type { Program, Programs } from '../helpers/programs.js';
import { until } from '../helpers/until.js';

/** What `npm run test:apps` installs. */
export const INSTALLED: string = fileURLToPath(new URL('packages/node_modules', import.meta.url));
export const AUTO: string = new URL('../../dist/auto.js', import.meta.url).href;
export const CLI: URL = new URL('../../dist/cli/main.js', import.meta.url);
const TCP_LISTEN = '0A';

/** For a start, a build or a handover on a machine that does something else. */
const PATIENCE = 60_000;

/** A file of an installed package. @throws Error it is not installed */
export function installed(...path: string[]): string {
  const file = join(INSTALLED, ...path);
  if (existsSync(file)) return file;
  throw new Error(`${file} is missing: run npm run test:apps, which installs it`);
}

/** What an installed CommonJS package exports. */
export function load<T>(name: string): T {
  return createRequire(fixture('package.json'))(name) as T;
}

export function fixture(name: string): string {
  return fileURLToPath(new URL(`packages/${name}`, import.meta.url));
}

export interface ServedOptions {
  readonly script: string | URL;
  readonly args: (port: number) => readonly string[];
  readonly env?: (port: number) => Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Node's own options. @default those that preload handover/auto */
  readonly execArgv?: readonly string[];
  /** Whether a process that holds the listener serves nothing; `first` is the one that was started. */
  readonly isApart?: (pid: number, first: number) => boolean;
}

/** A server at a port, and those that succeed it. */
export class Served {
  readonly port: number;
  readonly program: Program;
  readonly #start: Programs['start'];
  readonly #isApart: (pid: number) => boolean;

  private constructor(start: Programs['start'], program: Program, port: number, isApart: (pid: number) => boolean) {
    this.#start = start;
    this.program = program;
    this.port = port;
    this.#isApart = isApart;
  }

  /** Resolves when somebody accepts at the port. */
  static async start(start: Programs['start'], options: ServedOptions): Promise<Served> {
    const port = freePort();
    const { script, args, env, cwd, execArgv = ['--import', AUTO], isApart = () => false } = options;
    const program = start(script instanceof URL ? script : pathToFileURL(script), {
      args: args(port),
      execArgv,
      env: { PORT: String(port), ...env?.(port) },
      ...(cwd && { cwd }),
    });
    const served = new Served(start, program, port, (pid) => isApart(pid, program.pid));
    const ended = program.exit(PATIENCE).then(({ code, signal }) => {
      throw new Error(`${String(script)} ended with ${signal ?? code} before it accepted:\n${program.stderr}`);
    });
    ended.catch(() => {});
    await Promise.race([untilAccepted(port, PATIENCE), ended]);
    return served;
  }

  /** Who holds the listener, but those apart. */
  get pids(): number[] {
    const inodes = listeningInodes(this.port);
    const pids = new Set([...holdersOf(inodes).values()].flat());
    return [...pids].filter((pid) => !this.#isApart(pid));
  }

  /** The only one. */
  async pid(): Promise<number> {
    return until(() => (this.pids.length === 1 ? this.pids[0] : undefined), {
      what: `one process to hold port ${this.port}`,
      timeout: PATIENCE,
      interval: 20,
    });
  }

  /** `trigger` is told who serves. Resolves when another one alone does. */
  async handOver(trigger: (pid: number) => void = (pid) => process.kill(pid, 'SIGUSR2')): Promise<number> {
    const old = await this.pid();
    trigger(old);
    return until(() => (this.pids.length === 1 && this.pids[0] !== old ? this.pids[0] : undefined), {
      what: `another process than ${old} to serve at port ${this.port}; ${this.program.stderr}`,
      timeout: PATIENCE,
      interval: 20,
    });
  }

  /** Three handovers under load: nothing refused, lost or closed. */
  async throughThree(path = '/', trigger?: (pid: number) => void): Promise<void> {
    const load = new Load(this.#start, `http://127.0.0.1:${this.port}${path}`);
    await load.begun();
    const pids = [await this.pid()];
    for (let i = 0; i < 3; i++) pids.push(await this.handOver(trigger));
    expect(new Set(pids).size).toBe(4);
    const result = await load.end();
    expect({ ...result, ok: result.ok > 100 }).toEqual({ ok: true, lost: 0, closedByServer: 0, exitCode: 0 });
  }

  /** Ends by the signal that servers are ended by. */
  async stop(): Promise<void> {
    const pid = await this.pid();
    process.kill(pid, 'SIGTERM');
    await until(() => this.pids.length === 0, { what: `port ${this.port} to be free`, timeout: PATIENCE });
  }
}

interface LoadResult {
  readonly ok: number;
  readonly lost: number;
  readonly closedByServer: number;
  readonly exitCode: number | null;
}

/** `handover hammer` with clients of each kind that any HTTP server has. */
class Load {
  readonly #program: Program;

  constructor(start: Programs['start'], url: string) {
    const mix = 'keep-alive:6,new:2,idle:4';
    const args = ['hammer', url, '--duration', '10m', '--json', '--mix', mix, '--think', '5ms', '--idle', '2s'];
    this.#program = start(CLI, { args });
  }

  /** Resolves with the first answers. */
  async begun(): Promise<void> {
    await this.#program.line(/"ok":[1-9]/, PATIENCE);
  }

  async end(): Promise<LoadResult> {
    const { code } = await this.#program.stop('SIGINT', PATIENCE);
    const last = JSON.parse(this.#program.stdout.trim().split('\n').at(-1) ?? '{}') as {
      requests: { ok: number; lost: number };
      connections: { closedByServer: number };
    };
    return { ...last.requests, closedByServer: last.connections.closedByServer, exitCode: code };
  }
}

function listeningInodes(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return ['tcp', 'tcp6'].flatMap((family) =>
    readFileSync(`/proc/net/${family}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, , state]) => state === TCP_LISTEN && local?.endsWith(`:${hex}`))
      .map((fields) => fields[9] ?? ''),
  );
}
