// Compiles the addon where it must be: in the repository by `npm install` (prepare), for users who want it by
// `npx handover build`. No install script of the package: where a prebuilt file fits nothing is to be done, and where none does
// handover works without the addon, it only cannot hand over.
//   node native/install.mjs [--rebuild [--portable]]
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addonApi } from './addon-api.mjs';
import { nodePrefix } from './node-prefix.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const rebuild = process.argv.includes('--rebuild');
const portable = process.argv.includes('--portable');

function loads() {
  try {
    require('node-gyp-build')(root);
    return true;
  } catch {
    return false;
  }
}

/** Beside us, or npm's own; never through PATH, which need not have node_modules/.bin. */
function nodeGyp() {
  const inNpm = 'npm/node_modules/node-gyp/bin/node-gyp.js';
  const prefixes = [process.execPath, realpathSync(process.execPath)].map((file) => join(dirname(file), '..'));
  const folders = prefixes.flatMap((prefix) => [join(prefix, 'lib/node_modules'), join(prefix, 'share/nodejs')]);
  return [resolved(), process.env.npm_config_node_gyp, ...folders.map((folder) => join(folder, inNpm))].find(
    (file) => file !== undefined && existsSync(file),
  );
}

function resolved() {
  try {
    return require.resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return undefined;
  }
}

function compile() {
  const gyp = nodeGyp();
  if (gyp === undefined || addonApi() === undefined) return undefined;
  const prefix = nodePrefix();
  const args = [gyp, 'rebuild', '--jobs=max', ...(prefix ? [`--nodedir=${prefix}`] : [])];
  const cwd = portable ? join(root, 'native/portable') : root;
  return spawnSync(process.execPath, args, { cwd, stdio: ['ignore', 2, 2] }).status ?? 1;
}

function say(text) {
  process.stderr.write(`handover: ${text}\n`);
}

if (process.platform === 'win32') {
  say('Windows cannot pass sockets by SCM_RIGHTS; serve() listens plainly.');
} else if (rebuild || !loads()) {
  const status = compile();
  if (status === undefined)
    say('the addon cannot be compiled: there is no node-gyp (npm brings one), or no node-addon-api.');
  if (status !== 0) process.exitCode = 1;
}
