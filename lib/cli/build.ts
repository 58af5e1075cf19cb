// `handover build`: compiles the addon for a platform without a prebuilt file.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { EXIT } from '../terminal/exit-codes.js';
import type { Command } from './command.js';

export const command: Command = {
  summary: 'compile the addon where no prebuilt file fits: needs a C++ compiler, make and Python',
  options: {},
  run,
};

const SCRIPT = fileURLToPath(new URL('../../native/install.mjs', import.meta.url));

/** Compiles the addon. The output of the compiler goes to stderr. */
function run(): number {
  const { status } = spawnSync(process.execPath, [SCRIPT, '--rebuild'], { stdio: ['ignore', 2, 2] });
  return status === 0 ? EXIT.ok : EXIT.failed;
}
