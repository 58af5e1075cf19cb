// `handover run` asked by the other commands over its control socket.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';
import { until } from '../helpers/until.js';
import { fixture, release, running, stop, temporary } from './running.js';

expectNoLeaks();
const { start } = usePrograms();
const MAIN = new URL('../../dist/cli/main.js', import.meta.url);

function controlSocket(): string {
  const directory = temporaryFolder();
  return join(directory, 'run.sock');
}

/** The exit code, and what it printed, a line of JSON each. */
async function handover(
  control: string,
  ...args: string[]
): Promise<{ code: number | null; said: Record<string, unknown>[] }> {
  const command = start(MAIN, { args: [...args, '--control', control, '--json'] });
  const { code } = await command.exit(60_000);
  const said = command.stdout.trim().split('\n').filter(Boolean);
  return { code, said: said.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

it('G8: status, upgrade, scale and drain, asked over the control socket', async () => {
  const control = controlSocket();
  const app = await running(start, ['--workers', '2', '--control', control]);
  const first = app.workers();
  const { said: [status] = [] } = await handover(control, 'status');
  expect(status).toMatchObject({
    kind: 'supervisor',
    pid: app.supervisor.pid,
    generation: 1,
    phase: 'serving',
    isInCharge: true,
    workers: [{ phase: 'in-charge' }, { phase: 'in-charge' }],
  });
  const [listener] = status?.listeners as { pids: number[] }[];
  expect(listener?.pids.toSorted()).toEqual([app.supervisor.pid, ...first].toSorted());

  const upgraded = await handover(control, 'upgrade');
  expect(upgraded.code).toBe(0);
  expect(upgraded.said.filter(({ type }) => type === 'phase')).toHaveLength(2);
  expect(upgraded.said.at(-1)).toMatchObject({ type: 'outcome', generation: 2 });

  expect(await handover(control, 'upgrade', '--profile', 'profiles')).toMatchObject({
    code: 1,
    said: [{ type: 'error', code: 'ERR_HANDOVER_UNSUPPORTED' }],
  });
  expect(await handover(control, 'upgrade', '--dry-run')).toMatchObject({
    code: 0,
    said: [{ type: 'plan', changes: [], wasTried: false }],
  });
  expect(await handover(control, 'upgrade', '--if-changed')).toMatchObject({
    code: 0,
    said: [{ type: 'outcome', isUnchanged: true }],
  });
  expect(await handover(control, 'resume')).toMatchObject({ code: 1 });
  expect(await handover(control, 'scale', '3')).toMatchObject({ code: 0, said: [{ type: 'scaled', workers: 3 }] });
  expect((await handover(control, 'scale', 'many')).code).toBe(2);
  expect(app.workers().filter((pid) => !first.includes(pid))).toHaveLength(3);
  expect(await handover(control, 'drain')).toMatchObject({ code: 0 });
  expect(await app.supervisor.exit()).toEqual({ code: 0, signal: null });
  expect((await handover(control, 'status')).code).toBe(3);
});

it('G8: a release that dies before it says anything is in the audit of the worker that serves on', async () => {
  const control = controlSocket();
  const root = release();
  const [server, audit] = [join(root, 'server.mjs'), join(root, 'audit')];
  const options = '{ port: Number(process.env.PORT), audit: process.env.AUDIT }';
  const imports = "import http from 'node:http'; import { serve } from 'handover';";
  writeFileSync(server, `${imports} await serve(http.createServer(), ${options});`);
  const app = await running(start, ['--control', control], { command: [server], env: { AUDIT: audit } });
  writeFileSync(server, 'process.exit(3);');
  expect(await handover(control, 'upgrade')).toMatchObject({
    code: 1,
    said: expect.arrayContaining([expect.objectContaining({ code: 'ERR_HANDOVER_SUCCESSOR_EXITED' })]),
  });
  const lines = readFileSync(audit, 'utf8').trim().split('\n');
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    {
      pid: app.workers()[0],
      outcome: 'failed',
      code: 'ERR_HANDOVER_SUCCESSOR_EXITED',
      requester: { by: 'supervisor', pid: app.supervisor.pid },
    },
  ]);
  await stop(app);
});

it('refuses a control socket that another supervisor has', async () => {
  const control = controlSocket();
  const app = await running(start, ['--control', control]);
  const second = start(MAIN, { args: ['run', '--control', control, '--', process.execPath, '-e', '0'] });
  expect(await second.exit()).toEqual({ code: 1, signal: null });
  expect(second.stderr).toContain('EADDRINUSE');
  await stop(app);
});

it('G5, G8: abort gives up the replacement under way; the old worker serves on, and resume goes on with the roll', async () => {
  const control = controlSocket();
  const hang = join(temporary(), 'hang');
  const app = await running(start, ['--control', control], { command: [fixture('moody.mjs'), `hang=${hang}`] });
  const before = app.workers();
  expect(await handover(control, 'abort')).toEqual({ code: 0, said: [{ type: 'abort', phase: null }] });
  writeFileSync(hang, '');
  const upgrading = handover(control, 'upgrade');
  await until(() => app.workers().length === 2, { what: 'the new worker' });
  expect(await handover(control, 'abort')).toEqual({
    code: 0,
    said: [{ type: 'abort', phase: 'PREPARE', workers: [0] }],
  });
  expect(await upgrading).toMatchObject({ code: 1, said: [{ type: 'error', code: 'ERR_HANDOVER_CANCELLED' }] });
  await until(() => app.workers().length === 1, { what: 'the new one to be ended' });
  expect(app.workers()).toEqual(before);
  rmSync(hang);
  expect(await handover(control, 'resume')).toMatchObject({ code: 0 });
  expect(app.workers()).not.toEqual(before);
  await stop(app);
}, 60_000);
