// Accepting on a Unix listener when accept(2) fails: no turn of the loop is spent on trying.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { onLinux, temporaryFolder } from './sandbox.js';

expectNoLeaks();

const fixture = fileURLToPath(new URL('fixtures/accepts.mjs', import.meta.url));
/** The portable file has accept(2), the Linux one accept4(2). */
const CALLS = 'trace=accept,accept4';
const hasStrace = spawnSync('strace', ['-V']).error === undefined;

describe.runIf(onLinux)('accept(2) fails for a second and a half', () => {
  test.for(['ENFILE', 'EMFILE', 'ENOBUFS', 'ENOMEM', 'EPERM'])('with %s: it is tried a few times', (code, { skip }) => {
    skip(!hasStrace, 'there is no strace');
    const folder = temporaryFolder();
    const trace = join(folder, 'trace');
    const options = ['-f', '-e', CALLS, '-e', `inject=accept,accept4:error=${code}`, '-o', trace];
    const program = [process.execPath, fixture, join(folder, 'listener.sock'), '1500'];
    const ended = spawnSync('strace', [...options, ...program], { encoding: 'utf8' });
    expect([ended.status, ended.stdout]).toEqual([0, 'accepted 0\n']);
    const tries = readFileSync(trace, 'utf8').match(/accept4?\(/g)?.length ?? 0;
    expect(tries).toBeGreaterThan(1);
    expect(tries).toBeLessThan(10);
  });

  test('the next one after it is accepted', ({ skip }) => {
    skip(!hasStrace, 'there is no strace');
    const folder = temporaryFolder();
    const options = ['-f', '-e', CALLS, '-e', 'inject=accept,accept4:error=ENOMEM:when=1', '-o', '/dev/null'];
    const program = [process.execPath, fixture, join(folder, 'listener.sock'), '5000'];
    const ended = spawnSync('strace', [...options, ...program], { encoding: 'utf8' });
    expect([ended.status, ended.stdout]).toEqual([0, 'accepted 1\n']);
  });
});
