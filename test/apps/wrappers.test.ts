// G1, G2, G3: servers behind what people start them with (npm, pnpm, yarn, npx, tsx), rolled by `handover run`.
import { cpSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { AUTO, CLI, fixture, INSTALLED, installed, Served } from './served.js';

expectNoLeaks();
const { start } = usePrograms();

/** A project with tsx installed, whose `npm start` runs a server that knows nothing of handovers. */
function project(script: string): string {
  const folder = temporaryFolder();
  cpSync(fixture('app.mts'), join(folder, 'app.mts'));
  cpSync(fixture('plain.mjs'), join(folder, 'server.mjs'));
  symlinkSync(INSTALLED, join(folder, 'node_modules'));
  const manifest = { name: 'app', version: '1.0.0', private: true, scripts: { start: script } };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
  return folder;
}

const SERVER = `node --import ${AUTO} server.mjs`;
const TYPESCRIPT = `tsx --import ${AUTO} app.mts`;

const WRAPPERS: Readonly<Record<string, readonly [command: () => readonly string[], script: string]>> = {
  'npm start': [() => ['npm', 'start'], SERVER],
  'npm run start -s': [() => ['npm', 'run', 'start', '-s'], SERVER],
  'pnpm start': [() => [process.execPath, installed('pnpm/bin/pnpm.mjs'), 'start'], SERVER],
  'yarn start': [() => [process.execPath, installed('yarn/bin/yarn.js'), 'start'], SERVER],
  'npm start, which runs tsx': [() => ['npm', 'start'], TYPESCRIPT],
  'npx tsx': [() => ['npx', '--no-install', 'tsx', '--import', AUTO, 'app.mts'], SERVER],
};

describe('three rolls of handover run under load, nothing refused, lost or closed', () => {
  it.each(Object.entries(WRAPPERS))(
    '%s',
    async (_, [command, script]) => {
      const served = await Served.start(start, {
        script: CLI,
        args: () => ['run', '--', ...command()],
        execArgv: [],
        cwd: project(script),
        isApart: (pid, first) => pid === first,
      });
      const { pid } = served.program;
      await served.throughThree('/', () => process.kill(pid, 'SIGHUP'));
      served.program.child.kill('SIGTERM');
      await served.program.exit(60_000);
    },
    180_000,
  );
});
