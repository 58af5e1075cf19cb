// The helpers of this suite can fail: a leak is named, a survivor is killed and named, output is waited for in order.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { differences, expectNoLeaks, holdings, leaksSince } from '../helpers/leaks.js';
import { Lines } from '../helpers/lines.js';
import { alive, identify, processesMarked } from '../helpers/processes.js';
import { usePrograms } from '../helpers/programs.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TALKS = new URL('samples/talks.mjs', import.meta.url);

/** Runs the careless samples; test name to its failure messages. */
async function runCarelessSamples(mark: string): Promise<Map<string, string>> {
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/house/samples/vitest.config.ts'];
  const stdout = await new Promise<string>((resolve) => {
    const env = { ...process.env, HANDOVER_SAMPLES: mark };
    execFile(process.execPath, vitest, { cwd: ROOT, env }, (_, text) => resolve(text));
  });
  const report = JSON.parse(stdout) as {
    testResults: { assertionResults: { fullName: string; failureMessages: string[] }[] }[];
  };
  const results = report.testResults.flatMap((file) => file.assertionResults);
  return new Map(results.map(({ fullName, failureMessages }) => [fullName, failureMessages.join('\n')]));
}

describe('a careless test fails, and the reason is named', () => {
  expectNoLeaks();

  it('descriptors, children, programs, successors', async () => {
    const mark = `samples of ${process.pid}`;
    const failures = await runCarelessSamples(mark);
    expect(Object.fromEntries(failures)).toEqual({
      'expectNoLeaks a descriptor left open': expect.stringMatching(/leaked descriptor \d+: \/dev\/zero/),
      'expectNoLeaks a descriptor closed that is not its own': expect.stringMatching(
        /closed descriptor \d+, open before the test: \/dev\/full/,
      ),
      'expectNoLeaks a child left running': expect.stringMatching(/left child process \d+: .*setInterval/),
      'usePrograms a program left running': expect.stringMatching(/left processes running:\n +\d+: .*left-running/),
      'usePrograms a detached grandchild left running': expect.stringMatching(
        /left processes running:\n +\d+: .*orphan/,
      ),
      'usePrograms a failed test is not blamed for what it could not stop': expect.stringMatching(
        /^(?![\s\S]*left processes)[\s\S]*its own reason/,
      ),
    });
    expect(processesMarked('HANDOVER_SAMPLES', mark)).toEqual([]);
  });
});

describe('expectNoLeaks', () => {
  describe('looks after every cleanup, and after closes that libuv has under way', () => {
    expectNoLeaks();

    it('a server closed in onTestFinished is no leak', async ({ onTestFinished }) => {
      const server = createServer().listen(0);
      await once(server, 'listening');
      onTestFinished(() => {
        server.close();
      });
    });

    it('a file whose close is in the thread pool is no leak', async () => {
      const file = await open('/dev/null');
      void file.close();
    });

    it('a killed child that is not reaped yet is no leak', async () => {
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
      await once(child, 'spawn');
      child.kill('SIGKILL');
    });
  });

  it('names a leaked descriptor with its target, and a child with its command', async () => {
    const before = holdings();
    const fd = openSync('/dev/zero', 'r');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const lines = differences(before, holdings());
    closeSync(fd);
    child.kill('SIGKILL');
    expect(lines).toContain(`leaked descriptor ${fd}: /dev/zero`);
    expect(lines).toContainEqual(expect.stringMatching(`left child process ${child.pid}: .*setInterval`));
    expect(await leaksSince(before)).toEqual([]);
  });

  it('names a descriptor that was closed though it was not ours, also when its number was taken again', () => {
    const before = {
      descriptors: new Map([
        [8, 'pipe:[1]'],
        [9, 'pipe:[2]'],
      ]),
      children: new Map(),
    };
    const after = { descriptors: new Map([[9, 'socket:[3]']]), children: new Map() };
    expect(differences(before, after)).toEqual([
      'descriptor 9 was pipe:[2] before the test, is socket:[3] now',
      'closed descriptor 8, open before the test: pipe:[1]',
    ]);
  });
});

describe('usePrograms', () => {
  expectNoLeaks();
  const { start, follow } = usePrograms();

  it('waits for messages, talks, and tells code from signal', async () => {
    const program = start(TALKS, { args: ['a', 'b'] });
    const ready = await program.message<{ pid: number; args: string[] }>('ready');
    expect(ready).toMatchObject({ pid: program.pid, args: ['a', 'b'] });
    program.tell({ type: 'echo', value: 1 });
    program.tell({ type: 'echo', value: 2 });
    expect(await program.message('echo')).toMatchObject({ value: 1 });
    expect(await program.message('echo')).toMatchObject({ value: 2 });
    program.tell({ type: 'exit', code: 3 });
    expect(await program.exit()).toEqual({ code: 3, signal: null });

    const other = start(TALKS);
    await other.message('ready');
    expect(await other.stop('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('a wait for what never comes ends with the program, and shows its output', async () => {
    const program = start(TALKS);
    await program.message('ready');
    program.tell({ type: 'exit', code: 0 });
    await expect(program.message('never')).rejects.toThrow(/no message "never": the output ended[\s\S]*"type":"ready"/);
    expect(await program.exit()).toEqual({ code: 0, signal: null });
  });

  it('gives descriptors as 3, 4, …', async () => {
    const fd = openSync('/dev/null', 'w');
    await using program = start(TALKS, { fds: [fd] });
    await program.message('ready');
    closeSync(fd);
    expect(() => writeSync(fd, 'x')).toThrow('EBADF');
  });

  it('follows a process it did not start to its end', async () => {
    const program = start(TALKS);
    await program.message('ready');
    program.tell({ type: 'orphan' });
    const orphan = follow((await program.message<{ pid: number }>('orphan')).pid);
    expect(await program.stop()).toEqual({ code: null, signal: 'SIGTERM' });
    expect(orphan.alive()).toBe(true);
    expect(orphan.signal('SIGKILL')).toBe(true);
    await orphan.gone();
    expect(orphan.alive()).toBe(false);
    expect(() => follow(orphan.pid)).toThrow('does not run');
    await program.closed;
  });

  it('tells a process from a later one under the same pid', () => {
    expect(alive({ pid: process.pid, startTime: identify(process.pid)?.startTime ?? '' })).toBe(true);
    expect(alive({ pid: process.pid, startTime: '1' })).toBe(false);
  });
});

describe('Lines', () => {
  it('cuts lines across chunks, claims each once, and hands out a last line without an end', async () => {
    const lines = new Lines();
    const first = lines.next((line) => (line.startsWith('a') ? line : undefined), 'an a', 1_000);
    lines.add('b1\na');
    lines.add('1\na2\nc');
    expect(await first).toBe('a1');
    expect(await lines.next((line) => (line.startsWith('a') ? line : undefined), 'an a', 1_000)).toBe('a2');
    const last = lines.next((line) => (line === 'c' ? line : undefined), 'a c', 1_000);
    lines.end();
    expect(await last).toBe('c');
    await expect(lines.next((line) => (line === 'a1' ? line : undefined), 'a1', 1_000)).rejects.toThrow('ended');
    expect(await lines.next((line) => line, 'anything', 1_000)).toBe('b1');
  });

  it('a wait has a deadline', async () => {
    await expect(new Lines().next((line) => line, 'line', 1)).rejects.toThrow('no line: waited 1 ms');
  });
});
