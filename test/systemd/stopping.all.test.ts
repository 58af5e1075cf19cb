// `systemctl stop` and `restart` after handovers, in a real systemd: what is open is answered, whoever systemd has as the
// main process by then, and the unit ends as the server ended.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { privateFolder, visit } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { identify } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';
import { hasSystemd } from './systemd.js';
import { type Installed, UNIT, useInstalled } from './web.js';

expectNoLeaks();
const installed = useInstalled(usePrograms());

const isThere = hasSystemd();
// Loudly: the name of the tests says why they did not run.
const needs = isThere ? '' : ' (SKIPPED: needs root, systemd and mount namespaces)';
const ENTRY = new URL('../../dist/index.js', import.meta.url).href;

/** Answers `/slow` some time after it was told to end, and ends with an exit code of its own. */
const program = (options: string, more = ''): string => `
  import { createServer } from 'node:http';
  import { openHandover, serve } from ${JSON.stringify(ENTRY)};
  const answer = (response) => response.setHeader('x-pid', process.pid).end('hello');
  const server = createServer((request, response) => {
    if (request.url !== '/slow') answer(response);
    else handover.closing.addEventListener('abort', () => setTimeout(answer, 500, response));
  });
  process.on('exit', () => (process.exitCode = 7));
  const port = Number(process.env.PORT);
  const handover = await serve(server, { name: 'web', port, probation: { duration: 0 }, systemd: { fdstore: true }, log: true, ${options} });
  ${more}
`;

interface Way {
  readonly name: string;
  readonly unit: string;
  readonly program: string;
}

/** How the unit has ended, as systemd saw it. */
const ENDS = `SuccessExitStatus=7
ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >>ends'`;

const STANDBY = `process.on('SIGUSR2', async () => (await handover.prepare()).commit());`;
const TAKEOVER = 'ExecReload=\nExecReload=setsid --fork %PROGRAM%';

const WAYS: readonly Way[] = [
  { name: 'by itself', unit: '', program: program('') },
  { name: 'by itself, NotifyAccess=main', unit: 'NotifyAccess=main', program: program('') },
  { name: 'by a standby', unit: '', program: program('signals: { upgrade: false }', STANDBY) },
  {
    name: 'by a takeover in the same unit',
    unit: `RuntimeDirectory=web\nRuntimeDirectoryMode=0700\n${TAKEOVER}`,
    program: program(`takeover: process.env.RUNTIME_DIRECTORY + '/handover.sock'`),
  },
];

/** So many handovers, after each of which the predecessor has ended. */
async function reload({ systemd }: Installed, times: number): Promise<number> {
  let main = await systemd.mainPid(UNIT);
  for (let i = 0; i < times; i++) {
    const old = main;
    await systemd.systemctl('reload', UNIT);
    main = await systemd.mainPid(UNIT, old);
    await systemd.when(UNIT, 'to be alone', () => identify(old) === undefined);
  }
  return main;
}

describe.skipIf(!isThere).each(WAYS)(`handed over $name${needs}`, ({ unit, program }) => {
  it.each([
    1, 3,
  ])('G2: after %d reloads a restart and a stop answer what is open, and the unit ends well', async (times) => {
    const more = unit.replace('%PROGRAM%', `${process.execPath} release.mjs`);
    const service = await installed(`${ENDS}\n${more}`);
    const { systemd, target, release, log } = service;
    release(program);
    await systemd.systemctl('start', UNIT);
    for (const command of ['restart', 'stop']) {
      const main = await reload(service, times);
      const slow = visit(target, '/slow');
      // Accepted before this one.
      expect(await visit(target)).toEqual({ pid: main });
      await systemd.systemctl(command, UNIT);
      expect(await slow, log()).toEqual({ pid: main });
    }
    expect(await systemd.show(UNIT)).toMatchObject({ ActiveState: 'inactive', Result: 'success', NRestarts: '0' });
    expect(service.read('ends')).toBe('success exited 7\n'.repeat(2));
    await systemd.stop();
  });
});

describe.skipIf(!isThere)(`taken over from another unit${needs}`, () => {
  it('G2: each unit keeps its main process and ends well, the first by itself', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const service = await installed(`${ENDS}\nRestart=no`);
    const { systemd, target, release, read } = service;
    release(program(`takeover: ${JSON.stringify(takeover)}`));
    await systemd.systemctl('start', UNIT);
    const old = await systemd.mainPid(UNIT);
    const slow = visit(target, '/slow');
    expect(await visit(target)).toEqual({ pid: old });
    await systemd.install(UNIT, service.dropIn, 'next.service');
    await systemd.systemctl('start', 'next.service');
    const main = await systemd.mainPid('next.service');
    expect(await slow).toEqual({ pid: old });
    await systemd.when(UNIT, 'to end', ({ ActiveState }) => ActiveState === 'inactive');
    const last = visit(target, '/slow');
    expect(await visit(target)).toEqual({ pid: main });
    await systemd.systemctl('stop', 'next.service');
    expect(await last).toEqual({ pid: main });
    expect(read('ends')).toBe('success exited 7\n'.repeat(2));
    await systemd.stop();
  });
});
