// G1, G2, G3: servers from npm under handover/auto, unchanged, each through three handovers under load.
import { describe, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { fixture, installed, Served, type ServedOptions } from './served.js';

expectNoLeaks();
const { start } = usePrograms();

const STATIC = fixture('static');

const APPS: Readonly<Record<string, ServedOptions>> = {
  'serve, which looks for a free port': {
    script: installed('serve/build/main.js'),
    args: (port) => ['-l', String(port), STATIC],
  },
  'http-server': { script: installed('http-server/bin/http-server'), args: (port) => [STATIC, '-p', String(port)] },
  'sirv-cli': { script: installed('sirv-cli/bin.js'), args: (port) => [STATIC, '--port', String(port), '--quiet'] },
  // Without that option it refuses to start beside another one of the project: a lock file, as docs/is-my-app-ready.md has it.
  'vite preview, which looks for a free port': {
    script: installed('vite/bin/vite.js'),
    args: (port) => ['preview', '--bypass-lock', '--port', String(port), '--outDir', 'static'],
    cwd: fixture('.'),
  },
  polka: { script: fixture('polka.cjs'), args: (port) => [String(port)] },
  hapi: { script: fixture('hapi.mjs'), args: (port) => [String(port)] },
  'fastify-cli': {
    script: installed('fastify-cli/cli.js'),
    args: (port) => ['start', '-p', String(port), fixture('plugin.cjs')],
  },
  listhen: { script: fixture('listhen.mjs'), args: (port) => [String(port)] },
  ...Object.fromEntries(
    ['get-port', 'portfinder', 'detect-port', 'get-port-please'].map((name): [string, ServedOptions] => [
      `a server that asks ${name} for a port`,
      { script: fixture('finds-port.mjs'), args: (port) => [name, String(port)] },
    ]),
  ),
};

describe('three handovers under load, nothing refused, lost or closed', () => {
  it.each(Object.entries(APPS))(
    '%s',
    async (_, options) => {
      const served = await Served.start(start, options);
      await served.throughThree();
      await served.stop();
    },
    180_000,
  );
});
