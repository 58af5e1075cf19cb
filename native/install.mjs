// Compiles the addon where it must be. As the install script it leaves a binary that loads alone, and where nothing can
// be compiled it says so and succeeds: handover works without the addon, it only cannot hand over.
//   node native/install.mjs [--rebuild [--portable]]
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodePrefix } from './node-prefix.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const rebuild = process.argv.includes('--rebuild');
const portable = process.argv.includes('--portable');

function resolves(name) {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}

function loads() {
  try {
    require('node-gyp-build')(root);
    return true;
  } catch {
    return false;
  }
}

function compile() {
  // npm's own node-gyp when there is none beside us; never through PATH, which need not have node_modules/.bin.
  const gyp = resolves('node-gyp/bin/node-gyp.js') ?? process.env.npm_config_node_gyp;
  if (!gyp || !existsSync(gyp) || !resolves('node-addon-api')) return undefined;
  const prefix = nodePrefix();
  const args = [gyp, 'rebuild', '--jobs=max', ...(prefix ? [`--nodedir=${prefix}`] : [])];
  const cwd = portable ? join(root, 'native/portable') : root;
  return spawnSync(process.execPath, args, { cwd, stdio: 'inherit' }).status ?? 1;
}

if (process.platform === 'win32') {
  process.stdout.write('handover: Windows cannot pass sockets by SCM_RIGHTS; serve() listens plainly.\n');
} else if (rebuild || !loads()) {
  const status = compile();
  if (status !== undefined) {
    process.exitCode = status === 0 ? 0 : 1;
  } else {
    process.stdout.write(
      `handover: no prebuilt addon for ${process.platform}-${process.arch}; serve() will listen plainly. To build it: npm install --no-save node-addon-api node-gyp && node ${join(root, 'native/install.mjs')} --rebuild\n`,
    );
    if (rebuild) process.exitCode = 1;
  }
}
