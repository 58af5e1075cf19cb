// Those that keep several workers behind one port: each started, told to replace its workers, ended.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export type Name = 'handover run' | 'node:cluster' | 'pm2';

export interface Contestant {
  readonly name: Name;
  readonly port: number;
  /** Replaces every worker; resolves when the last one has been. */
  reload(): Promise<void>;
  end(): Promise<void>;
}

export const WORKERS = 2;
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const PM2 = here('pm2/node_modules/pm2/bin/pm2');

export function hasPm2(): boolean {
  return existsSync(PM2);
}

export async function startHandoverRun(): Promise<Contestant> {
  const port = await freePort();
  const keeping = ['--workers', String(WORKERS), '--listen', `web=tcp://127.0.0.1:${port}`];
  const args = [here('../../dist/cli/main.js'), 'run', ...keeping, '--', process.execPath, here('serve.mjs')];
  const program = new Keeper(args, port);
  await program.says(/workers serve/);
  return {
    name: 'handover run',
    port,
    async reload() {
      program.signal('SIGUSR2');
      for (let left = WORKERS; left > 0; left--) await program.says(/worker \d+ is pid \d+ now/);
    },
    end: () => program.end(),
  };
}

export async function startCluster(): Promise<Contestant> {
  const port = await freePort();
  const program = new Keeper([here('cluster.mjs'), String(WORKERS)], port);
  await program.says(/^serving$/);
  return {
    name: 'node:cluster',
    port,
    async reload() {
      program.signal('SIGUSR2');
      await program.says(/^reloaded$/);
    },
    end: () => program.end(),
  };
}

/** With a daemon and files of its own, in a folder that is removed. */
export async function startPm2(): Promise<Contestant> {
  const port = await freePort();
  const home = mkdtempSync(join(tmpdir(), 'handover-bench-'));
  const env = { ...process.env, PM2_HOME: home, PORT: String(port) };
  const pm2 = (...args: string[]): Promise<unknown> =>
    promisify(execFile)(process.execPath, [PM2, '--silent', ...args], { env, cwd: home });
  const end = async (): Promise<void> => {
    await pm2('kill');
    rmSync(home, { recursive: true });
  };
  try {
    await pm2('start', here('listen.mjs'), '-i', String(WORKERS), '--name', 'app');
    await answers(port);
  } catch (error) {
    await end();
    throw error;
  }
  return { name: 'pm2', port, reload: async () => void (await pm2('reload', 'app')), end };
}

/** The process that keeps the workers, ours to signal; tells what it does on stderr. */
class Keeper {
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;

  constructor(args: readonly string[], port: number) {
    const env = { ...process.env, PORT: String(port) };
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.#exit = once(this.#child, 'exit');
    this.#lines = createInterface({ input: this.#child.stderr as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async says(what: RegExp): Promise<void> {
    const said: string[] = [];
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${this.#child.spawnargs[1]} ended before it said ${what}:\n${said.join('\n')}`);
      if (what.test(value)) return;
      said.push(value);
    }
  }

  async end(): Promise<void> {
    this.signal('SIGTERM');
    await this.#exit;
    while (!(await this.#lines.next()).done);
  }
}

async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as net.AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

const START_TIMEOUT = 20_000;

/** pm2 does not tell when an app listens. */
async function answers(port: number): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT;
  for (;;) {
    try {
      await (await fetch(`http://127.0.0.1:${port}/`)).text();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
