// What children inherit and what ends them, as FACTS.md has it: N10, N11, P1, P3.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { bindListener, closeFd, describeFd, getCloexec, setCloexec, socketpair } from '../../lib/fd/index.js';
import { onLinux, own } from '../fd/sandbox.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { usePrograms } from '../helpers/programs.js';

expectNoLeaks();
const { start } = usePrograms();

const LIST = ['-c', 'ls -l /proc/self/fd'];

describe.runIf(onLinux)('inheritance', () => {
  test('N10: sockets of the addon are close-on-exec from birth: none reaches a child spawned meanwhile', async () => {
    // spawn() forks on this thread, between two calls of ours: what it could catch is a flag set by a second call.
    const leaked = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const fds = [...socketpair(), bindListener({ port: 0, host: '127.0.0.1' })];
        const ours = fds.map((fd) => `socket:[${describeFd(fd).inode}]`);
        const child = spawn('sh', LIST, { stdio: ['ignore', 'pipe', 'ignore'] });
        let listing = '';
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          listing += text;
        });
        const ended = once(child, 'close');
        for (const fd of fds) closeFd(fd);
        await ended;
        expect(listing).toContain('->');
        return ours.filter((socket) => listing.includes(socket));
      }),
    );
    expect(leaked).toEqual(Array(40).fill([]));
  });

  test('N10: with the flag cleared a child has it: the listing can tell', () => {
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    setCloexec(fd, false);
    const { stdout } = spawnSync('sh', LIST, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    expect(stdout).toContain(`socket:[${describeFd(fd).inode}]`);
  });

  test('N11: stdio passes a close-on-exec descriptor to the child, and leaves ours as it is', () => {
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const { stdout } = spawnSync('sh', ['-c', 'readlink /proc/self/fd/3'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore', fd],
    });
    expect(stdout.trim()).toBe(`socket:[${describeFd(fd).inode}]`);
    expect(getCloexec(fd)).toBe(true);
  });

  test('N11: a Node child sets close-on-exec again on what it inherited contiguously from 3', () => {
    const fd = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const source = `
      const { spawnSync } = require('node:child_process');
      const inherited = fs.readlinkSync('/proc/self/fd/3');
      const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
      const { stdout } = spawnSync('sh', ['-c', 'ls -l /proc/self/fd'], options);
      process.stdout.write(JSON.stringify({ inherited, grandchildHasIt: stdout.includes(inherited) }));`;
    const { stdout } = spawnSync(process.execPath, ['-e', source], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore', fd, fd],
    });
    expect(JSON.parse(stdout)).toEqual({ inherited: `socket:[${describeFd(fd).inode}]`, grandchildHasIt: false });
  });
});

describe('stderr of a child whose reader has gone', () => {
  const program = new URL('fixtures/writes-stderr.mjs', import.meta.url);

  test.each([
    ['process.stderr.write', 'write', { code: 1, signal: null }],
    ['console.error', 'console', { code: 0, signal: null }],
  ])('P1: %s', async (_, how, exit) => {
    const child = start(program, { args: [how] });
    await child.line(/ready/);
    child.child.stderr?.destroy();
    await once(child.child.stderr as NodeJS.ReadableStream, 'close');
    child.child.stdin?.end('go\n');
    expect(await child.exit()).toEqual(exit);
    expect(child.stdout.includes('survived')).toBe(exit.code === 0);
  });
});

test('P3: a second --inspect on the same port only logs that it is in use', async () => {
  const source = `require('node:inspector').url() && process.stdout.write(require('node:inspector').url() + '\\n');
    process.stdin.resume().once('end', () => process.exit(0));`;
  const first = spawn(process.execPath, ['--inspect=127.0.0.1:0', '-e', source], { stdio: ['pipe', 'pipe', 'ignore'] });
  const [url] = (await once(first.stdout, 'data')) as [Buffer];
  const { port } = new URL(url.toString());
  const second = spawnSync(process.execPath, [`--inspect=127.0.0.1:${port}`, '-e', 'process.exit(7)'], {
    encoding: 'utf8',
  });
  expect(second.status).toBe(7);
  expect(second.stderr).toMatch(/address already in use/);
  first.stdin.end();
  expect(await once(first, 'exit')).toEqual([0, null]);
});
