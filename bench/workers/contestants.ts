// Those that keep several workers behind one port: each started, told to replace its workers, ended.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Ending } from '../lib/ending.js';
import { peer } from '../lib/peers.js';
import { answers, freePort, Program } from '../lib/program.js';

export type Name = 'handover run' | 'node:cluster' | 'pm2';

export interface Contestant {
  readonly name: Name;
  readonly port: number;
  /** Replaces every worker; resolves when the last one has been. */
  reload(): Promise<void>;
}

/** What it starts is ended by that. */
export type Start = (ending: Ending) => Promise<Contestant>;

export const WORKERS = 2;
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

export async function startHandoverRun(ending: Ending): Promise<Contestant> {
  const port = await freePort();
  const keeping = ['--workers', String(WORKERS), '--listen', `web=tcp://127.0.0.1:${port}`];
  const args = [here('../../dist/cli/main.js'), 'run', ...keeping, '--', process.execPath, here('serve.mjs')];
  const program = ending.own(new Program({ args, env: { PORT: String(port) } }));
  await program.says(/workers serve/);
  return {
    name: 'handover run',
    port,
    async reload() {
      program.signal('SIGUSR2');
      for (let left = WORKERS; left > 0; left--) await program.says(/worker \d+ is pid \d+ now/);
    },
  };
}

export async function startCluster(ending: Ending): Promise<Contestant> {
  const port = await freePort();
  const args = [here('cluster.mjs'), String(WORKERS)];
  const program = ending.own(new Program({ args, env: { PORT: String(port) } }));
  await program.says(/^serving$/);
  return {
    name: 'node:cluster',
    port,
    async reload() {
      program.signal('SIGUSR2');
      await program.says(/^reloaded$/);
    },
  };
}

const PM2_TIMEOUT = 30_000;

/** With a daemon and files of its own, in a folder that is removed. */
export async function startPm2(ending: Ending): Promise<Contestant> {
  const port = await freePort();
  const home = ending.folder();
  const env = { ...process.env, PM2_HOME: home, PORT: String(port) };
  const options = { env, cwd: home, timeout: PM2_TIMEOUT };
  const pm2 = (...args: string[]): Promise<unknown> =>
    promisify(execFile)(process.execPath, [peer('pm2').path('bin/pm2'), '--silent', ...args], options);
  ending.own({ end: () => pm2('kill') });
  await pm2('start', here('listen.mjs'), '-i', String(WORKERS), '--name', 'app');
  await answers(port);
  return { name: 'pm2', port, reload: async () => void (await pm2('reload', 'app')) };
}
