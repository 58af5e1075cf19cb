// The contestants out of npm; where they are not installed they are skipped by name.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { INSTALL_PEERS, peer } from '../lib/peers.js';
import { answers, freePort, Program } from '../lib/program.js';
import type { Entrant } from './contestant.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const missing = (name: string): string | undefined =>
  peer(name).isThere ? undefined : `it is not installed: ${INSTALL_PEERS}`;

const pm2: Entrant = {
  name: 'pm2 reload',
  replaces: 'process',
  missing: missing('pm2'),
  async start() {
    const port = await freePort();
    const home = mkdtempSync(join(tmpdir(), 'handover-bench-'));
    const env = { PM2_HOME: home, PORT: String(port) };
    const program = new Program({ args: [here('../peers/pm2.mjs'), here('../workers/listen.mjs')], env });
    const end = async (): Promise<void> => {
      await program.end();
      rmSync(home, { recursive: true });
    };
    try {
      await program.says(/^serving$/);
      await answers(port);
    } catch (error) {
      await end();
      throw error;
    }
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2');
        await program.says(/^reloaded$/);
        return {};
      },
      end,
    };
  },
};

const restartable: Entrant = {
  name: '@fastify/restartable',
  replaces: 'instance',
  missing: missing('@fastify/restartable'),
  async start() {
    const port = await freePort();
    const program = new Program({ args: [here('../peers/restartable.mjs')], env: { PORT: String(port) } });
    await program.says(/^serving$/);
    return {
      port,
      async trigger() {
        program.signal('SIGUSR2');
        await program.says(/^restarted$/);
        return {};
      },
      end: () => program.end(),
    };
  },
};

export const PEERS: readonly Entrant[] = [pm2, restartable];
