// A half-filled binding table is a failed load: all of the addon is there, or none of it.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { lackOf } from '../../lib/fd/native.js';
import { addon, addonFile } from './sandbox.js';

const HALF_FILLED = fileURLToPath(new URL('fixtures/half-filled.cjs', import.meta.url));
const FD = new URL('../../dist/fd/index.js', import.meta.url).href;

const { constants, ...table } = addon;
const { flavor: _, ...functions } = table;
const { SO_PASSCRED: __, ...required } = constants;

describe('a binding table', () => {
  it('that is whole lacks nothing', () => {
    expect(lackOf(addon)).toBeUndefined();
  });

  it.each(Object.keys(functions))('without %s lacks it', (name) => {
    expect(lackOf({ ...addon, [name]: undefined })).toBe(name);
  });

  it.each(Object.keys(required))('without the constant %s lacks it', (name) => {
    expect(lackOf({ ...addon, constants: { ...constants, [name]: undefined } })).toBe(name);
  });

  it.each([undefined, null, 0, {}])('that is %j lacks all of it', (nothing) => {
    expect(lackOf(nothing)?.split(', ')).toEqual(expect.arrayContaining([...Object.keys(functions), 'AF_UNIX']));
  });
});

/** What a process says that loads the addon without this function or constant. */
function loadWithout(lack: string): unknown {
  const program = `
    const { dupFd, socketpair } = await import(${JSON.stringify(FD)});
    const refusal = (call) => { try { return call(); } catch ({ code, message }) { return { code, message }; } };
    process.stdout.write(JSON.stringify([refusal(() => socketpair().length), refusal(() => dupFd(0) > 0)]));
  `;
  const args = ['--require', HALF_FILLED, '--input-type=module', '-e', program];
  const child = spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, LACK: lack } });
  expect(child.stderr).toBe('');
  return JSON.parse(child.stdout);
}

it.each([
  'lockRange',
  'AF_UNIX',
])('without %s no call is served, and what is missing is said with the way out', (lack) => {
  const message =
    `no addon for ${process.platform}-${process.arch}: ${addonFile} does not load: ` +
    `it was made from other sources and lacks ${lack} (npx handover build)`;
  const refusal = { code: 'ERR_HANDOVER_UNSUPPORTED', message };
  expect(loadWithout(lack)).toEqual([refusal, refusal]);
});

it('with all of it every call is served', () => {
  expect(loadWithout('')).toEqual([2, true]);
});
