// Before the package is packed: what belongs into it is made anew, and a package without an addon that loads is refused.
//   node scripts/prepack.mjs
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { provideHeaders } from '../native/headers.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const here = join(root, 'prebuilds', `${process.platform}-${process.arch}`);

function newest(paths) {
  return Math.max(0, ...paths.map((path) => statSync(path).mtimeMs));
}

function filesIn(folder, name) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => name.test(file))
    .map((file) => join(folder, file));
}

function refuse(why) {
  process.stderr.write(`handover: not packed: ${why}\n`);
  process.exit(1);
}

/** A binary older than a source is not of this source. */
function isCurrent(folder) {
  const sources = [join(root, 'binding.gyp'), ...filesIn(join(root, 'native'), /\.(cc|h|gypi)$/)];
  const binaries = filesIn(folder, /\.node$/);
  return binaries.length > 0 && Math.min(...binaries.map((path) => statSync(path).mtimeMs)) > newest(sources);
}

if (!isCurrent(here)) {
  rmSync(here, { recursive: true, force: true });
  const { status } = spawnSync(process.execPath, [join(root, 'native/prebuild.mjs')], { stdio: ['ignore', 2, 2] });
  if (status !== 0 || !isCurrent(here)) refuse(`there is no prebuilt addon for ${process.platform}-${process.arch}`);
}
for (const platform of readdirSync(join(root, 'prebuilds'))) {
  if (!isCurrent(join(root, 'prebuilds', platform))) refuse(`prebuilds/${platform} is empty, or older than native/`);
}
try {
  // What a user's process loads, not what was compiled here.
  createRequire(import.meta.url)(filesIn(here, /\.node$/)[0]);
} catch (error) {
  refuse(`the prebuilt addon does not load: ${error.message}`);
}

// For `npx handover build`, which cannot count on what is hoisted.
if (!provideHeaders()) refuse('there is no node-addon-api');

rmSync(join(root, 'dist'), { recursive: true, force: true });
process.exitCode =
  spawnSync('npm', ['run', '--silent', 'build:js'], { cwd: root, stdio: ['ignore', 2, 2] }).status ?? 1;
