// `handover build`: compiles the addon for a platform without a prebuilt file.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { EXIT } from '../terminal/exit-codes.js';

const SCRIPT = fileURLToPath(new URL('../../native/install.mjs', import.meta.url));

/** What the compiler says goes to stderr. */
export function run(): number {
  const { status } = spawnSync(process.execPath, [SCRIPT, '--rebuild'], { stdio: ['ignore', 2, 2] });
  return status === 0 ? EXIT.ok : EXIT.failed;
}
