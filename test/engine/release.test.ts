// Release directories: what the successor is started with, and what is looked at before.
import { mkdirSync, readFileSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { expectMemory } from '../../lib/platform/preflight.js';
import { boot, useApps } from '../handover/apps.js';
import { temporaryFolder } from '../helpers/folders.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, privateFolder, server, targetOf, visit } from './engine.js';

expectNoLeaks();
const { chain, start } = useApps();
const library = new URL('../../dist/index.js', import.meta.url).href;

/** A release: a server that answers with its version, and hands over on SIGUSR2. */
function release(folder: string, version: string): void {
  mkdirSync(join(folder, version), { recursive: true });
  writeFileSync(
    join(folder, version, 'server.mjs'),
    `import http from 'node:http';
     import { serve } from ${JSON.stringify(library)};
     const server = http.createServer((request, response) => response.end('${version}'));
     const handover = await serve(server, { port: 0, host: '127.0.0.1', name: 'web', probation: { duration: 0 }, log: true });
     process.stdout.write(JSON.stringify({
       type: 'ready', version: '${version}', port: server.address().port, pid: process.pid, cwd: process.cwd(),
       pwd: process.env.PWD, args: process.argv.slice(2), execArgv: process.execArgv, generation: handover.generation,
     }) + '\\n');`,
  );
}

interface Ready {
  readonly version: string;
  readonly port: number;
  readonly pid: number;
  readonly cwd: string;
  readonly args: readonly string[];
  readonly execArgv: readonly string[];
  readonly generation: number;
}

describe('a `current` symlink that was switched starts the new release', () => {
  const switched = async (
    file: (folder: string) => string,
    options: (folder: string) => { cwd: string; env: Record<string, string> },
  ): Promise<void> => {
    const folder = temporaryFolder();
    for (const version of ['v1', 'v2']) release(folder, version);
    const current = join(folder, 'current');
    symlinkSync('v1', current);
    // Node itself is the program, so that the script is named as a shell would.
    const program = start(pathToFileURL(file(folder)), { ...options(folder), args: ['--port-of', 'mine'] });
    const old = await program.message<Ready>('ready');
    expect(old).toMatchObject({ version: 'v1', generation: 1 });
    symlinkSync('v2', join(folder, 'next'));
    renameSync(join(folder, 'next'), current);
    program.child.kill('SIGUSR2');
    const young = await program.message<Ready>('ready');
    expect(young).toMatchObject({ version: 'v2', generation: 2, port: old.port, args: ['--port-of', 'mine'] });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    expect(await (await fetch(`http://127.0.0.1:${old.port}`, { headers: { connection: 'close' } })).text()).toBe('v2');
    process.kill(young.pid, 'SIGTERM');
    await program.closed;
  };

  it('named by an absolute path through the link', () =>
    switched(
      (folder) => join(folder, 'current', 'server.mjs'),
      (folder) => ({ cwd: folder, env: { PWD: folder } }),
    ));

  it('started inside the link, with a relative script', async () => {
    const folder = temporaryFolder();
    for (const version of ['v1', 'v2']) release(folder, version);
    const current = join(folder, 'current');
    symlinkSync('v1', current);
    // As a shell does it: cd current && node server.mjs
    writeFileSync(
      join(folder, 'shell.mjs'),
      `import { spawn } from 'node:child_process';
       const shell = spawn('sh', ['-c', 'cd "$1" && exec "$2" server.mjs', 'sh', ${JSON.stringify(current)}, process.execPath], { stdio: 'inherit' });
       process.on('SIGUSR2', () => shell.kill('SIGUSR2'));
       shell.on('exit', (code, signal) => process.exit(signal ? 99 : code));`,
    );
    const program = start(pathToFileURL(join(folder, 'shell.mjs')));
    const old = await program.message<Ready>('ready');
    expect(old).toMatchObject({ version: 'v1', cwd: join(folder, 'v1') });
    symlinkSync('v2', join(folder, 'next'));
    renameSync(join(folder, 'next'), current);
    process.kill(old.pid, 'SIGUSR2');
    const young = await program.message<Ready>('ready');
    expect(young).toMatchObject({ version: 'v2', cwd: join(folder, 'v2'), port: old.port, generation: 2 });
    expect(await program.exit()).toEqual({ code: 0, signal: null });
    process.kill(young.pid, 'SIGTERM');
    await program.closed;
  });

  it('G5: a link that leads nowhere fails the handover and nothing else', async () => {
    const folder = temporaryFolder();
    release(folder, 'v1');
    const current = join(folder, 'current');
    symlinkSync('v1', current);
    const program = start(pathToFileURL(join(current, 'server.mjs')), { cwd: folder });
    const { port, pid } = await program.message<Ready>('ready');
    unlinkSync(current);
    symlinkSync('v2', current);
    program.child.kill('SIGUSR2');
    await program.errorLine(/the handover failed in PREPARE: the successor ended \(exit code 1\)/);
    expect(await (await fetch(`http://127.0.0.1:${port}`, { headers: { connection: 'close' } })).text()).toBe('v1');
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(pid).toBe(program.pid);
  });
});

it('overrides: command, args, cwd, env and execArgv of the successor', async () => {
  const folder = privateFolder();
  const app = new URL('../handover/fixtures/app.mjs', import.meta.url).pathname;
  const successor = boot(
    async (inside, options) => {
      const env = { ...process.env, COLOR: 'blue' };
      await inside.open({ probation: { duration: 0 }, successor: { ...options, env } });
      await inside.listen('http', { port: 0, host: '127.0.0.1' });
      inside.say('process', [
        process.cwd(),
        process.env.COLOR ?? null,
        process.execArgv,
        process.argv.slice(2),
        process.ppid,
      ]);
      await inside.handover.ready();
    },
    { cwd: folder, execArgv: ['--stack-trace-limit=7'] },
  );
  const { chain: processes, first } = await chain([
    successor,
    // The next one by a shell, with arguments of its own.
    boot(
      async (inside, args) => {
        const options = {
          command: 'sh',
          args: ['-c', 'exec "$0" "$@"', process.execPath, '--stack-trace-limit=8', ...args],
        };
        await inside.open({ probation: { duration: 0 }, successor: options });
        await inside.listen('http', { port: 0, host: '127.0.0.1' });
        inside.say('process', [process.cwd(), process.env.COLOR ?? null, process.execArgv, process.argv.slice(2)]);
        await inside.handover.ready();
      },
      [app, 'one', 'two words'],
    ),
    successor,
  ]);
  await first.upgrade();
  await first.process.gone();
  const second = await processes.generation(2);
  expect(await second.said('process')).toEqual([folder, 'blue', ['--stack-trace-limit=7'], []]);
  await second.upgrade();
  await second.process.gone();
  const third = await processes.generation(3);
  expect(await third.said('process')).toEqual([
    folder,
    'blue',
    ['--stack-trace-limit=8'],
    ['one', 'two words'],
    expect.any(Number),
  ]);
  await third.close();
});

describe('G5: what is looked at before a successor is started', () => {
  const refused = async (options: object, code: string): Promise<Awaited<ReturnType<typeof failureOf>>> => {
    const { first } = await chain(server({ options: { probation: { duration: 0 }, ...options } }));
    const failure = await failureOf(first);
    expect(failure).toMatchObject({ code, phase: 'PREPARE', stillServing: true });
    // Nothing was started: no phase has begun, and no process of ours has dialled the test.
    expect(first.events.filter(([name]) => name === 'phase')).toEqual([]);
    expect(await first.run(({ children }) => children())).toEqual([]);
    expect(await visit(await targetOf(first))).toEqual({ pid: first.pid });
    await first.close();
    return failure;
  };

  it('a check by arguments that fails: its stderr is in the error', async () => {
    const check = ['-e', "process.stderr.write('line 3: no such directive\\n'); process.exitCode = 4", 'hunter2'];
    const failure = await refused(
      { preflight: { command: check }, successor: { args: [] } },
      'ERR_HANDOVER_CHECK_FAILED',
    );
    expect(failure.stderr).toBe('line 3: no such directive');
    // Not the command line: nobody knows what is in it.
    expect(failure.message).toBe('the new release failed its check: exit code 4\n  | line 3: no such directive');
    expect(failure.cause?.message).not.toContain('hunter2');
  });

  it('an executable that is gone', () =>
    refused({ successor: { command: '/nowhere/bin/node' } }, 'ERR_HANDOVER_COMMAND_NOT_FOUND'));

  it('a check by a function gets the command, and may refuse it', async () => {
    const checked = boot(async (inside) => {
      const check = (command: { file: string; args: readonly string[] }) => {
        inside.say('checked', command.args.length > 0);
        if (inside.kept.refuses) throw new Error('not on a Friday');
      };
      await inside.open({ probation: { duration: 0 }, preflight: { command: check } });
      await inside.listen('http', { port: 0, host: '127.0.0.1' });
      await inside.handover.ready();
    });
    const { chain: processes, first } = await chain(checked);
    await first.run(({ kept }) => {
      kept.refuses = true;
    });
    expect(await failureOf(first)).toMatchObject({
      code: 'ERR_HANDOVER_CHECK_FAILED',
      message: 'the new release failed its check: not on a Friday',
      cause: { message: 'not on a Friday' },
      stillServing: true,
    });
    await first.run(({ kept }) => {
      kept.refuses = false;
    });
    await first.upgrade();
    expect(first.allSaid('checked')).toEqual([true, true]);
    await first.process.gone();
    await (await processes.generation(2)).close();
  });

  describe('memory', () => {
    const MiB = 1_048_576;
    const cgroup = (files: Record<string, string>): string => {
      const root = privateFolder();
      const [, path = ''] = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8')) ?? [];
      mkdirSync(join(root, path), { recursive: true });
      for (const [name, text] of Object.entries(files)) writeFileSync(join(root, path, name), `${text}\n`);
      return root;
    };
    const files = {
      'memory.max': `${200 * MiB}`,
      'memory.current': `${150 * MiB}`,
      'memory.stat': 'anon 1\ninactive_file 0',
    };

    it('less headroom than this process uses is ERR_HANDOVER_NO_MEMORY, with the figures', () => {
      expect(() => expectMemory(cgroup(files), 60 * MiB)).toThrow(
        expect.objectContaining({
          code: 'ERR_HANDOVER_NO_MEMORY',
          message: 'the cgroup has 50 MiB left and this process uses 60 MiB; preflight.memory: false overrides',
          stillServing: true,
        }),
      );
    });

    it.each([
      ['enough headroom', files, 40],
      ['page cache that can be given back', { ...files, 'memory.stat': `anon 1\ninactive_file ${20 * MiB}` }, 60],
      ['no limit', { ...files, 'memory.max': 'max' }, 60],
      ['no such files', {}, 60],
    ] as const)('%s is not', (_name, given, rss) => {
      expect(() => expectMemory(cgroup(given), rss * MiB)).not.toThrow();
    });
  });
});
