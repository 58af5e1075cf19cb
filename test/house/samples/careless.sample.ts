// Tests that leave something behind; each has to fail, naming what. Run by helpers.test.ts.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { expectNoLeaks } from '../../helpers/leaks.js';
import { usePrograms } from '../../helpers/programs.js';

const TALKS = new URL('talks.mjs', import.meta.url);

describe('expectNoLeaks', () => {
  let stranger = -1;
  beforeAll(() => {
    stranger = openSync('/dev/full', 'w');
  });
  let child: ReturnType<typeof spawn>;
  afterAll(() => child.kill('SIGKILL'));
  expectNoLeaks();

  it('a descriptor left open', () => {
    openSync('/dev/zero', 'r');
  });

  it('a descriptor closed that is not its own', () => {
    closeSync(stranger);
  });

  it('a child left running', () => {
    child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  });
});

describe('usePrograms', () => {
  const { start } = usePrograms();

  it('a program left running', async () => {
    const program = start(TALKS, { args: ['left-running'] });
    await program.message('ready');
  });

  it('a detached grandchild left running', async () => {
    const program = start(TALKS);
    await program.message('ready');
    program.tell({ type: 'orphan' });
    await program.message('orphan');
    await program.stop();
  });

  it('a failed test is not blamed for what it could not stop', async () => {
    const program = start(TALKS);
    await program.message('ready');
    throw new Error('its own reason');
  });
});
