// The contestants out of npm; where they are not installed they are skipped by name.
import { fileURLToPath } from 'node:url';
import { INSTALL_PEERS, peer } from '../lib/peers.js';
import { answers, freePort, Program } from '../lib/program.js';
import { type Entrant, reloading } from './contestant.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const missing = (name: string): string | undefined =>
  peer(name).isThere ? undefined : `it is not installed: ${INSTALL_PEERS}`;

const pm2: Entrant = {
  name: 'pm2 reload',
  replaces: 'process',
  missing: missing('pm2'),
  async start(ending) {
    const port = await freePort();
    const env = { PM2_HOME: ending.folder(), PORT: String(port) };
    const args = [here('../peers/pm2.mjs'), here('../workers/listen.mjs')];
    const program = ending.own(new Program({ args, env }));
    await program.says(/^serving$/);
    await answers(port);
    return reloading(port, program, /^reloaded$/);
  },
};

const restartable: Entrant = {
  name: '@fastify/restartable',
  replaces: 'instance',
  missing: missing('@fastify/restartable'),
  async start(ending) {
    const port = await freePort();
    const args = [here('../peers/restartable.mjs')];
    const program = ending.own(new Program({ args, env: { PORT: String(port) } }));
    await program.says(/^serving$/);
    return reloading(port, program, /^restarted$/);
  },
};

export const PEERS: readonly Entrant[] = [pm2, restartable];
