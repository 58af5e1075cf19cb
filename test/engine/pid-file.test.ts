// The pid file names the process in charge, always: written whole, restored when a handover fails, removed at the end.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { PidFile } from '../../lib/process/pid-file.js';
import { boot, useApps } from '../handover/apps.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { failureOf, privateFolder, server, targetOf, Visitors, visit } from './engine.js';

expectNoLeaks();
const { chain } = useApps();
const isRoot = process.getuid?.() === 0;

it('names one process or the other at every moment of a handover, and nothing in between', async () => {
  const pidFile = join(privateFolder(), 'server.pid');
  const { chain: processes, first } = await chain(server({ options: { pidFile, probation: { duration: 200 } } }));
  const seen = new Set<string>();
  let isOver = false;
  const upgrade = first.upgrade().finally(() => {
    isOver = true;
  });
  while (!isOver) {
    seen.add(readFileSync(pidFile, 'utf8'));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { pid } = await upgrade;
  seen.add(readFileSync(pidFile, 'utf8'));
  expect([...seen]).toEqual([`${first.pid}\n`, `${pid}\n`]);
  await first.process.gone();
  // The one that left has not taken it along.
  expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}\n`);
  await (await processes.generation(2)).close();
  expect(existsSync(pidFile)).toBe(false);
});

it('is not written by a standby, and not removed when it names another', async () => {
  const folder = privateFolder();
  const pidFile = join(folder, 'server.pid');
  const { first } = await chain(server({ options: { pidFile } }));
  await first.run(async ({ handover }) => {
    const standby = await handover.prepare();
    await standby.discard();
  });
  expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`);
  writeFileSync(pidFile, '1\n');
  await first.close();
  expect(readFileSync(pidFile, 'utf8')).toBe('1\n');
  expect(readdirSync(folder)).toEqual(['server.pid']);
});

describe('G5: a pid file that cannot be written fails the handover, and the old process serves on', () => {
  const fails = async (pidFile: string, spoil: () => void, mend: () => void): Promise<void> => {
    const { chain: processes, first } = await chain(server({ options: { pidFile, probation: { duration: 0 } } }));
    const visitors = new Visitors(await targetOf(first));
    spoil();
    expect(await failureOf(first)).toMatchObject({
      code: 'ERR_HANDOVER_PID_FILE',
      stillServing: true,
      phase: 'COMMIT',
    });
    expect(await first.run(({ handover }) => handover.isInCharge)).toBe(true);
    expect((await processes.generation(2)).process.alive()).toBe(false);
    expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`);
    expect(first.allSaid('server')).toEqual(['listening']);
    await visitors.answered(first.pid, 10);
    mend();
    const { pid } = await first.upgrade();
    expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}\n`);
    await visitors.answered(pid, 5);
    await visitors.stop();
    expect(visitors.refused).toEqual([]);
    await first.process.gone();
    await (await processes.generation(3)).close();
  };

  /** A file system of its own, of so many blocks. */
  const mounted = (size: string): string => {
    const folder = privateFolder();
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0755`, 'none', folder]);
    onTestFinished(() => void execFileSync('umount', [folder]));
    return folder;
  };

  it('a full disk', async ({ skip }) => {
    skip(!isRoot, 'only root can mount a small file system');
    const folder = mounted('16k');
    const ballast = join(folder, 'ballast');
    await fails(
      join(folder, 'server.pid'),
      () => {
        expect(() => writeFileSync(ballast, Buffer.alloc(65_536))).toThrow('ENOSPC');
      },
      () => writeFileSync(ballast, ''),
    );
    expect(readdirSync(folder)).toEqual(['ballast']);
  });

  it('a file system that went read-only', async ({ skip }) => {
    skip(!isRoot, 'only root can mount a file system read-only');
    const folder = mounted('16k');
    const remount = (mode: string) => void execFileSync('mount', ['-o', `remount,${mode}`, folder]);
    await fails(
      join(folder, 'server.pid'),
      () => remount('ro'),
      () => remount('rw'),
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('a folder that is not there: the first process does not start', async () => {
    const pidFile = join(privateFolder(), 'missing', 'server.pid');
    const served = boot(async (inside, path) => {
      const options = { port: 0, host: '127.0.0.1', pidFile: path };
      await inside.lib.serve(inside.create('http'), options).catch((error) => inside.say('failed', error.message));
    }, pidFile);
    const { chain: processes, first } = await chain(served);
    expect(await first.said('failed')).toMatch(/cannot write the pid file/);
    await processes.program.exit();
  });
});

describe('G6: what others have put where it is written', () => {
  const write = (path: string): string | undefined => {
    try {
      new PidFile(path, process.pid).write();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };

  it('is not followed: neither a link at the path nor one at that of the temporary file', () => {
    const folder = privateFolder();
    const pidFile = join(folder, 'server.pid');
    const precious = join(folder, 'precious');
    writeFileSync(precious, 'untouched');
    for (const planted of [pidFile, `${pidFile}.${process.pid}`]) {
      symlinkSync(precious, planted);
      expect(write(pidFile)).toBeUndefined();
      expect(readFileSync(precious, 'utf8')).toBe('untouched');
      expect(lstatSync(pidFile).isFile()).toBe(true);
      expect(readFileSync(pidFile, 'utf8')).toBe(`${process.pid}\n`);
      new PidFile(pidFile, process.pid).remove();
      expect(readdirSync(folder)).toEqual(['precious']);
    }
  });

  it('the temporary files of killed processes are removed, at the next write and at the end, and nothing else', () => {
    const folder = privateFolder();
    const pidFile = join(folder, 'server.pid');
    // The kernel gives no process such a number (PID_MAX_LIMIT is 2 ** 22).
    const ended = 2 ** 23;
    const old = new Date(Date.now() - 5_000);
    const put = (name: string, text: string, at = old): void => {
      writeFileSync(join(folder, name), text);
      utimesSync(join(folder, name), at, at);
    };
    const left = `server.pid.${ended}`;
    put(`other.pid.${ended}`, `${ended}\n`);
    put(`server.pid.${process.ppid}`, `${process.ppid}\n`);
    put(`${left}x`, `${ended}\n`);
    put('server.pid.0', '0\n');
    const others = readdirSync(folder);
    for (const text of ['', `${ended}\n`]) {
      put(left, text);
      expect(write(pidFile)).toBeUndefined();
      expect(readdirSync(folder).toSorted()).toEqual([...others, 'server.pid'].toSorted());
      put(left, text);
      new PidFile(pidFile, process.pid).remove();
      expect(readdirSync(folder)).toEqual(others);
    }
    for (const [text, at] of [
      ['a file of the app', old],
      [`${ended}\n`, new Date()],
    ] as const) {
      put(left, text, at);
      expect(write(pidFile)).toBeUndefined();
      expect(readdirSync(folder)).toContain(left);
    }
  });

  it('a directory that others can write to is refused', () => {
    const folder = privateFolder();
    for (const mode of [0o777, 0o775, 0o1777]) {
      chmodSync(folder, mode);
      expect(write(join(folder, 'server.pid'))).toMatch(
        /cannot write the pid file .* can be written to by other users/,
      );
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  it('a FIFO at the path holds up nothing at the end', () => {
    const pidFile = join(privateFolder(), 'server.pid');
    execFileSync('mkfifo', [pidFile]);
    new PidFile(pidFile, process.pid).remove();
    expect(lstatSync(pidFile).isFIFO()).toBe(true);
  });
});

it('G5: a successor left alone that cannot write it serves all the same, and does the work', async () => {
  const folder = privateFolder();
  const pidFile = join(folder, 'server.pid');
  const { chain: processes, first } = await chain(server({ options: { pidFile, probation: { duration: 30_000 } } }));
  const visitors = new Visitors(await targetOf(first));
  const upgrading = first.upgrade().catch(() => {});
  const second = await processes.generation(2);
  await visitors.answered(second.pid, 1);
  rmSync(folder, { recursive: true });
  first.process.signal('SIGKILL');
  await upgrading;
  expect(await second.said('duty')).toBe('start');
  expect(await second.run(({ handover }) => handover.isInCharge)).toBe(true);
  await visitors.answered(second.pid, 10);
  await visitors.stop();
  expect(visitors.refused).toEqual([]);
  await second.close();
});

it('G1: the end of a process on a read-only file system leaves the file and no error', async ({ skip }) => {
  skip(!isRoot, 'only root can mount a file system read-only');
  const folder = privateFolder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=0755', 'none', folder]);
  onTestFinished(() => void execFileSync('umount', [folder]));
  const pidFile = join(folder, 'server.pid');
  const { first } = await chain(server({ options: { pidFile } }));
  expect(await visit(await targetOf(first))).toEqual({ pid: first.pid });
  execFileSync('mount', ['-o', 'remount,ro', folder]);
  await first.close();
  expect(readFileSync(pidFile, 'utf8')).toBe(`${first.pid}\n`);
});
