// A release as npm installs it: unpacked from its tarball into a folder of its own, with a copy of the program that runs
// the inside of a test beside it, so that the program loads that release.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../helpers/folders.js';

const PROGRAMS = fileURLToPath(new URL('../handover/fixtures/', import.meta.url));
const MODULES = fileURLToPath(new URL('../../node_modules/', import.meta.url));

/** The program under the release of this tarball of test/releases; both are removed when the test has finished. */
export function install(tarball: string): string {
  const folder = temporaryFolder();
  const modules = join(folder, 'node_modules');
  const own = join(modules, 'handover');
  mkdirSync(own, { recursive: true });
  execFileSync('tar', ['-xzf', fileURLToPath(new URL(tarball, import.meta.url)), '-C', own, '--strip-components=1']);
  for (const name of ['node-gyp-build', 'ws']) symlinkSync(join(MODULES, name), join(modules, name));
  for (const name of ['app.mjs', 'servers.mjs']) cpSync(join(PROGRAMS, name), join(folder, name));
  return join(folder, 'app.mjs');
}

/** The program under the working tree. */
export const WORKING_TREE: string = join(PROGRAMS, 'app.mjs');
