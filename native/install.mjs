// Compiles the addon: in the repository on `npm install` (prepare), for users on `npx handover build`. The package has no
// install script: mostly a prebuilt file fits, and otherwise the package works without the addon, except that it cannot hand
// over. So a compiler that is missing or fails is only a warning here, unless the caller requires the addon.
//   node native/install.mjs [--required | --rebuild [--portable]]
//     --required   exit code 1 where the addon neither loads nor can be compiled
//     --rebuild    the same, and compiles also where one loads
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { provideHeaders } from './headers.mjs';
import { nodePrefix } from './node-prefix.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const rebuild = process.argv.includes('--rebuild');
const required = rebuild || process.argv.includes('--required');
const portable = process.argv.includes('--portable');

function loads() {
  try {
    createRequire(import.meta.url)('node-gyp-build')(root);
    return true;
  } catch {
    return false;
  }
}

/**
 * Finds node-gyp: the development dependency, the package manager's, or npm's own. Not by PATH, which may lack
 * node_modules/.bin, and not a copy that another package hoisted, which may be too old for this Node.
 */
function nodeGyp() {
  const inNpm = 'npm/node_modules/node-gyp/bin/node-gyp.js';
  const prefixes = [process.execPath, realpathSync(process.execPath)].map((file) => join(dirname(file), '..'));
  const folders = prefixes.flatMap((prefix) => [join(prefix, 'lib/node_modules'), join(prefix, 'share/nodejs')]);
  const own = join(root, 'node_modules/node-gyp/bin/node-gyp.js');
  const files = [own, process.env.npm_config_node_gyp, ...folders.map((folder) => join(folder, inNpm))];
  return files.find((file) => file !== undefined && existsSync(file));
}

/** Undefined on success, else the reason of the failure. The compiler's output goes to stderr. */
function compile() {
  const gyp = nodeGyp();
  if (gyp === undefined) return 'there is no node-gyp: npm brings one, npm_config_node_gyp names another';
  if (!provideHeaders()) return 'there are no headers of node-addon-api';
  const prefix = nodePrefix();
  const args = [gyp, 'rebuild', '--jobs=max', ...(prefix ? [`--nodedir=${prefix}`] : [])];
  const cwd = portable ? join(root, 'native/portable') : root;
  const { status } = spawnSync(process.execPath, args, { cwd, stdio: ['ignore', 2, 2] });
  return status === 0 ? undefined : 'node-gyp failed, for the reason above';
}

function say(text) {
  process.stderr.write(`handover: ${text}\n`);
}

if (process.platform === 'win32') {
  say('Windows cannot pass sockets by SCM_RIGHTS; serve() listens plainly.');
} else if (rebuild || !loads()) {
  const failure = compile();
  if (failure !== undefined) {
    say(`${required ? '' : 'warning: '}the addon was not compiled: ${failure}.`);
    say(
      'Without it serve() listens plainly and nothing is handed over. To get it, install a C++ compiler, make and Python 3',
    );
    say('(Debian: apt install g++ make python3; Alpine: apk add g++ make python3), then run: npx handover build');
    if (required) process.exitCode = 1;
  }
}
