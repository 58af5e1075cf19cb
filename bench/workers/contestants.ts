// Those that keep several workers behind one port: each started, told to replace its workers, ended.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { peer } from '../lib/peers.js';
import { answers, freePort, Program } from '../lib/program.js';

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

export async function startHandoverRun(): Promise<Contestant> {
  const port = await freePort();
  const keeping = ['--workers', String(WORKERS), '--listen', `web=tcp://127.0.0.1:${port}`];
  const args = [here('../../dist/cli/main.js'), 'run', ...keeping, '--', process.execPath, here('serve.mjs')];
  const program = new Program({ args, env: { PORT: String(port) } });
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
  const program = new Program({ args: [here('cluster.mjs'), String(WORKERS)], env: { PORT: String(port) } });
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
    promisify(execFile)(process.execPath, [peer('pm2').path('bin/pm2'), '--silent', ...args], { env, cwd: home });
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
