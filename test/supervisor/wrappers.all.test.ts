// Workers behind the programs that start servers in practice: shells, npm, npx, tsx, another supervisor.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { EXAMPLE, fixture, temporary } from './running.js';
import { handsOver } from './wrapping.js';

expectNoLeaks();
const { start } = usePrograms();
const NODE = process.execPath;
const WRAPPER = fixture('wrapper.mjs');
const hasNpm = spawnSync('npm', ['--version'], { stdio: 'ignore' }).status === 0;

/** A package whose script `start` is the command. */
function packaged(command: string): string {
  const folder = temporary();
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'app', scripts: { start: command } }));
  return folder;
}

const SHELL = ['-c', `${NODE} ${EXAMPLE}; exit $?`];
const wrappers: readonly [string, string, readonly string[], boolean][] = [
  ['two of them', NODE, [WRAPPER, NODE, WRAPPER, NODE, EXAMPLE], true],
  ['a shell that waits for it', '/bin/sh', SHELL, true],
  ['a shell that started it in the background', '/bin/sh', ['-c', `${NODE} ${EXAMPLE} & wait $!`], true],
  ['another handover run', NODE, [fixture('run.mjs'), '--workers', '2', '--', NODE, EXAMPLE], true],
  ['tsx', join(dirname(fileURLToPath(import.meta.url)), '../../node_modules/.bin/tsx'), [EXAMPLE], true],
  ['npm start', 'npm', ['start', '--silent'], hasNpm],
  ['npx', 'npx', ['--no-install', '--call', `${NODE} ${EXAMPLE}`], hasNpm],
];

describe('a server behind a wrapper', () => {
  for (const [name, program, command, isThere] of wrappers) {
    it.skipIf(!isThere).each([[false], [true]])(
      `G2, G3: behind ${name} is handed over, and drained at the end (--listen: %s)`,
      async (listens) => {
        const cwd = packaged(`${NODE} ${EXAMPLE}`);
        await handsOver(start, { program, command, listens, cwd });
      },
      60_000,
    );
  }
});

if (!hasNpm) process.stderr.write('SKIPPED: npm is missing, servers behind it were not tested\n');
