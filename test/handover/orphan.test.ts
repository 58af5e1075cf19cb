// ERR_HANDOVER_WOULD_ORPHAN: where the world ends with the first process nothing is started, unless it is asked for.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { privateFolder } from '../engine/engine.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { type Program, type StartOptions, usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const { start, follow } = usePrograms();

const REFUSED = new URL('fixtures/refused.mjs', import.meta.url);
const UNDER = new URL('fixtures/under.mjs', import.meta.url);
const KEEPERS = new URL('fixtures/keepers.mjs', import.meta.url);
const file = fileURLToPath(REFUSED);

interface Result {
  readonly code?: string;
  readonly message?: string;
  readonly phase?: string;
  readonly stillServing?: boolean;
  readonly children: string;
  readonly isInCharge: boolean;
  readonly pid?: number;
}

/** sh leaves its pid to node: the main process as systemd sees it. */
const asMain = (...args: string[]): string[] => [
  'sh',
  '-c',
  'SYSTEMD_EXEC_PID=$$ exec "$0" "$@"',
  process.execPath,
  file,
  ...args,
];

const places: readonly [string, RegExp, (...args: string[]) => Program][] = [
  ['the main process of a systemd service', /systemd/, (...args) => start(UNDER, { args: asMain(...args) })],
  ['Server::Starter', /start_server/, (...args) => start(REFUSED, { args, env: { SERVER_STARTER_GENERATION: '1' } })],
  ['einhorn', /einhornsh/, (...args) => start(REFUSED, { args, env: { EINHORN_MASTER_PID: String(process.pid) } })],
  ['pm2', /pm2/, (...args) => start(REFUSED, { args, env: { pm_id: '0' } })],
  ['a parent with an IPC channel', /IPC/, (...args) => start(KEEPERS, { args: ['ipc', ...args] })],
];

/** It has started nothing, and goes on. */
async function isRefused(program: Program, why: RegExp): Promise<void> {
  expect(await program.message<Result>('result')).toMatchObject({
    code: 'ERR_HANDOVER_WOULD_ORPHAN',
    message: expect.stringMatching(why),
    phase: 'PREPARE',
    stillServing: true,
    children: '',
    isInCharge: true,
  });
  expect(await program.exit()).toEqual({ code: 0, signal: null });
}

/** The first process has been superseded and ends; then the successor is told to. */
async function ends(program: Program, pid: number): Promise<void> {
  const successor = follow(pid);
  await program.exit();
  successor.signal('SIGTERM');
  await successor.gone();
}

describe.runIf(process.platform === 'linux').each(places)('%s', (_, why, begin) => {
  it('is refused before anything is started, and the process serves on', async () => {
    const program = begin();
    await isRefused(program, why);
  });

  it('allowOrphan overrides', async () => {
    const program = begin('--allow');
    const { pid = 0 } = await program.message<Result>('result');
    expect((await program.message<Result>('successor')).pid).toBe(pid);
    await ends(program, pid);
  });
});

it.runIf(process.platform === 'linux')(
  'systemd whose NOTIFY_SOCKET is of a kind that cannot be talked to',
  async () => {
    const program = start(REFUSED, { env: { NOTIFY_SOCKET: 'vsock:2:1234' } });
    expect(await program.message<Result>('result')).toMatchObject({
      code: 'ERR_HANDOVER_WOULD_ORPHAN',
      message: expect.stringMatching(/kept by systemd.*Type=notify and NotifyAccess=all/),
      children: '',
    });
    await program.exit();
  },
);

it('a process below the main process of a systemd service may hand over', async () => {
  const program = start(REFUSED, { env: { SYSTEMD_EXEC_PID: String(process.pid) } } satisfies StartOptions);
  const { pid = 0 } = await program.message<Result>('successor');
  expect(await program.message<Result>('result')).toMatchObject({ pid });
  await ends(program, pid);
});

const canUnshare = process.platform === 'linux' && spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;
// Loudly: the name of the test says why it did not run.
const needs = canUnshare ? '' : ' (SKIPPED: needs unshare --pid, which this user or platform may not)';

it.skipIf(!canUnshare)(`pid 1 of a container${needs}`, async () => {
  // /proc is the outer one there, so what it started is not asked: it cannot even begin.
  const args = ['unshare', '--pid', '--fork', '--mount-proc', process.execPath, file];
  const program = start(UNDER, { args });
  expect(await program.message<Result>('result')).toMatchObject({
    code: 'ERR_HANDOVER_WOULD_ORPHAN',
    message: expect.stringContaining('pid 1'),
    children: '',
    isInCharge: true,
  });
  expect(await program.exit()).toEqual({ code: 0, signal: null });
});

const LEAVES = fileURLToPath(UNDER);
const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const MARKED = { npm_config_update_notifier: 'false', npm_config_cache: tmpdir() };

/** A package whose `npm start` is the server. */
function npmPackage(...args: string[]): string {
  const folder = privateFolder();
  const start = [process.execPath, file, ...args].join(' ');
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', scripts: { start } }));
  return folder;
}

/** What is pid 1, how it is named in the message, and its command; more inits where they are installed. */
const inits: readonly [string, RegExp, readonly string[]][] = [
  ['npm start', /pid 1 \(npm start\)/, ['npm', 'start']],
  ['a shell that does not exec', /pid 1 \(sh -c /, ['sh', '-c', '"$0" "$1"; exit $?', process.execPath, file]],
  ['timeout', /pid 1 \(timeout 60 /, ['timeout', '60', process.execPath, file]],
  ['a program of nobody knows whom', /pid 1 \(.*under\.mjs/, [process.execPath, LEAVES, process.execPath, file]],
  ['two wrappers', /pid 1 \(sh -c /, ['sh', '-c', 'timeout 60 "$0" "$1"; exit $?', process.execPath, file]],
  ['tini', /pid 1 \(tini /, ['tini', '--', process.execPath, file]],
  ['dumb-init', /pid 1 \(dumb-init /, ['dumb-init', process.execPath, file]],
  ['catatonit', /pid 1 \(catatonit /, ['catatonit', '--', process.execPath, file]],
];

describe.skipIf(!canUnshare)(`pid 1 of a container ends with the server${needs}`, () => {
  it.each(inits.filter(([, , [program = '']]) => has(program)))('%s: refused, by its name', async (_, why, command) => {
    const args = ['unshare', '--pid', '--fork', '--mount-proc', ...command];
    const program = start(UNDER, { args, cwd: npmPackage(), env: MARKED });
    await isRefused(program, why);
  });

  it('a supervisor that goes on may be pid 1', async () => {
    const supervisord = join(privateFolder(), 'supervisord');
    writeFileSync(supervisord, '#!/bin/sh\n"$@" </dev/null &\nread line\n', { mode: 0o755 });
    const args = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', supervisord, process.execPath, file];
    const program = start(UNDER, { args });
    const { pid } = await program.message<Result>('successor');
    expect(await program.message<Result>('result')).toMatchObject({ pid });
    program.child.stdin?.end('\n');
    await program.exit();
  });

  it('a process that would take over, and end with pid 1, is refused', async () => {
    const takeover = join(privateFolder(), 'handover.sock');
    const server = fileURLToPath(new URL('../engine/fixtures/contained.mjs', import.meta.url));
    // The line is the shell's: neither server has its stdin.
    const script =
      '"$0" "$1" </dev/null & pid=$!; read line; "$0" "$1" </dev/null; echo "{\\"type\\":\\"second\\",\\"code\\":$?}"; kill -9 $pid; wait';
    const command = ['unshare', '--pid', '--fork', '--mount-proc', 'sh', '-c', script, process.execPath, server];
    const program = start(UNDER, { args: command, env: { TAKEOVER: takeover, CONTAINED: 'no' } });
    await program.message('in-charge');
    program.child.stdin?.write('\n');
    expect(await program.message('second')).toMatchObject({ code: 1 });
    expect(program.stderr).toMatch(/ERR_HANDOVER_WOULD_ORPHAN|would end with pid 1 \(sh -c/);
    await program.exit();
  });
});

it('npm start in a terminal: npm ends, and the successor lives on', async () => {
  const program = start(UNDER, { args: ['npm', 'start'], cwd: npmPackage(), env: MARKED });
  const { pid = 0 } = await program.message<Result>('successor');
  expect(await program.message<Result>('result')).toMatchObject({ pid });
  await ends(program, pid);
});
