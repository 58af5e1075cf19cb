// Makes prebuilds/<platform>-<arch>/handover.<libc>.node, which loads on every Node from 20 on (Node-API 8).
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { provideHeaders } from './headers.mjs';
import { nodePrefix } from './node-prefix.mjs';

provideHeaders();
const require = createRequire(import.meta.url);
const prebuildify = join(dirname(require.resolve('prebuildify/package.json')), 'bin.js');
// By default prebuildify downloads the headers of the newest Node it knows.
const prefix = nodePrefix();
const headers = prefix ? { npm_config_nodedir: prefix } : {};
const { status } = spawnSync(
  process.execPath,
  [prebuildify, '--napi', '--strip', '--tag-libc', '-t', process.versions.node],
  {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { ...process.env, ...headers },
    stdio: ['ignore', 2, 2],
  },
);
process.exitCode = status ?? 1;
