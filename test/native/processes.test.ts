// Accepting, locks, and processes held by a pidfd.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import { AF_INET, AF_UNIX, addon, close, failed, own, SOCK_DGRAM, SOCK_STREAM, temporaryFolder } from './sandbox.js';

expectNoLeaks();

const CLOSED = 1_000_000;
const { SIGKILL, SIGTERM } = constants.signals;

function unixListener(path: string, backlog = 8): number {
  const fd = own(addon.socket(AF_UNIX, SOCK_STREAM, 0));
  expect(addon.bindUnix(fd, Buffer.from(path))).toBe(0);
  expect(addon.listen(fd, backlog)).toBe(0);
  addon.setNonblocking(fd, true);
  return fd;
}

function connect(path: string): number {
  const fd = own(addon.socket(AF_UNIX, SOCK_STREAM, 0));
  addon.setNonblocking(fd, true);
  expect(addon.connectUnix(fd, Buffer.from(path))).toBe(0);
  return fd;
}

describe('accept', () => {
  test('gives one connection after the other, close-on-exec, then -EAGAIN', () => {
    const path = join(temporaryFolder(), 'socket');
    const listener = unixListener(path);
    expect(addon.accept(listener)).toBe(failed('EAGAIN'));
    const clients = [connect(path), connect(path)];
    const accepted = clients.map(() => own(addon.accept(listener)));
    expect(addon.accept(listener)).toBe(failed('EAGAIN'));
    for (const [i, fd] of accepted.entries()) {
      expect(addon.getCloexec(fd)).toBe(1);
      addon.sendmsg(clients[i] as number, Buffer.from([i + 65]), new Int32Array(0), 0, false);
      const into = Buffer.alloc(4);
      expect(addon.recvmsg(fd, into, new Int32Array(5 + 253))).toBe(1);
      expect(into[0]).toBe(i + 65);
    }
  });

  test('refuses what does not listen', () => {
    const idle = own(addon.socket(AF_INET, SOCK_STREAM, 0));
    const datagram = own(addon.socket(AF_INET, SOCK_DGRAM, 0));
    expect(addon.accept(idle)).toBe(failed('EINVAL'));
    expect(addon.accept(datagram)).toBe(failed('EOPNOTSUPP'));
    expect(addon.accept(CLOSED)).toBe(failed('EBADF'));
    expect(addon.accept(-1)).toBe(failed('EBADF'));
  });
});

describe('flock', () => {
  test('one holder at a time, until its descriptor is closed', () => {
    const path = join(temporaryFolder(), 'lock');
    const first = openSync(path, 'a');
    const second = openSync(path, 'a');
    expect(addon.flock(first, true)).toBe(0);
    expect(addon.flock(second, true)).toBe(failed('EAGAIN'));
    // Once more by its holder: nothing changes.
    expect(addon.flock(first, true)).toBe(0);
    closeSync(first);
    expect(addon.flock(second, true)).toBe(0);
    closeSync(second);
  });

  test('false gives it back, also where there is none to give', () => {
    const path = join(temporaryFolder(), 'lock');
    const [first, second] = [openSync(path, 'a'), openSync(path, 'a')];
    expect([addon.flock(first, true), addon.flock(second, false), addon.flock(second, true)]).toEqual([
      0,
      0,
      failed('EAGAIN'),
    ]);
    expect([addon.flock(first, false), addon.flock(second, true)]).toEqual([0, 0]);
    for (const fd of [first, second]) closeSync(fd);
  });

  test('a process that ends gives it back, and its copies hold it until then', async () => {
    const path = join(temporaryFolder(), 'lock');
    const fd = openSync(path, 'a');
    expect(addon.flock(fd, true)).toBe(0);
    // The open file description is shared with the child: closing ours is not enough.
    const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    closeSync(fd);
    const other = openSync(path, 'a');
    expect(addon.flock(other, true)).toBe(failed('EAGAIN'));
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(addon.flock(other, true)).toBe(0);
    closeSync(other);
  });

  test('a closed descriptor is -EBADF', () => {
    expect(addon.flock(CLOSED, true)).toBe(failed('EBADF'));
  });
});

test('reap takes no child that runs, none that is another’s, and no group of children', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  await once(child, 'spawn');
  expect(addon.reap(child.pid as number)).toBe(0);
  expect(addon.reap(process.ppid)).toBe(failed('ECHILD'));
  for (const group of [0, -1, -(child.pid as number)]) expect(addon.reap(group)).toBe(failed('EINVAL'));
  child.kill('SIGKILL');
  // libuv has waited for it by then.
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  expect(addon.reap(child.pid as number)).toBe(failed('ECHILD'));
});

test.runIf(addon.flavor === 'portable')('the portable file has no pidfds, and says so', () => {
  expect(addon.pidfdOpen(process.pid)).toBe(failed('ENOSYS'));
  expect(addon.pidfdSignal(0, 0)).toBe(failed('ENOSYS'));
});

describe.runIf(addon.flavor === 'linux')('pidfdOpen and pidfdSignal', () => {
  async function running(command: string, ...args: string[]): Promise<ChildProcess & { readonly pid: number }> {
    const child = spawn(command, args, { stdio: 'ignore' });
    await once(child, 'spawn');
    return child as ChildProcess & { readonly pid: number };
  }

  test('signals the process, and 0 asks whether it is there', async () => {
    const child = await running('sleep', '60');
    const pidfd = own(addon.pidfdOpen(child.pid));
    expect(addon.getCloexec(pidfd)).toBe(1);
    expect(addon.pidfdSignal(pidfd, 0)).toBe(0);
    expect(addon.pidfdSignal(pidfd, SIGTERM)).toBe(0);
    expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
    expect(addon.pidfdSignal(pidfd, 0)).toBe(failed('ESRCH'));
    expect(addon.pidfdSignal(pidfd, SIGKILL)).toBe(failed('ESRCH'));
  });

  test('is readable once the process has ended, and not before', async () => {
    const child = await running('sleep', '60');
    const pidfd = own(addon.pidfdOpen(child.pid));
    let readable = 0;
    const poller = addon.openPoller(pidfd, () => {
      readable++;
      if (typeof poller !== 'number') poller.stop();
    });
    if (typeof poller === 'number') throw new Error(`openPoller: ${poller}`);
    poller.start(1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(readable).toBe(0);
    const exit = once(child, 'exit');
    addon.pidfdSignal(pidfd, SIGKILL);
    await exit;
    while (readable === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(readable).toBe(1);
    poller.close();
  });

  test('one that has ended is not opened by its pid, whoever has the pid by now', async () => {
    const results: (number | 'another')[] = [];
    for (let i = 0; i < 5; i++) {
      const child = await running('true');
      if (child.exitCode === null) await once(child, 'exit');
      const result = addon.pidfdOpen(child.pid);
      // A pidfd stands for one process for ever: that of one that has ended takes no signal.
      const isAnother = result >= 0 && addon.pidfdSignal(result, 0) === 0;
      results.push(isAnother ? 'another' : result);
      if (result >= 0) close(result);
    }
    expect(results).toContain(failed('ESRCH'));
    // EINVAL, since Linux 6.15 ENOENT: a thread has it.
    const known = [failed('ESRCH'), 'another', failed('EINVAL'), failed('ENOENT')];
    expect(results.filter((result) => !known.includes(result))).toEqual([]);
  });

  test('a process that is not there, and numbers that are none', () => {
    // No pid reaches PID_MAX_LIMIT (proc(5)).
    expect(addon.pidfdOpen(2 ** 22)).toBe(failed('ESRCH'));
    expect(addon.pidfdOpen(0)).toBe(failed('EINVAL'));
    expect(addon.pidfdOpen(-1)).toBe(failed('EINVAL'));
  });

  test('what is no pidfd, and signals that are none', () => {
    const socket = own(addon.socket(AF_UNIX, SOCK_STREAM, 0));
    expect(addon.pidfdSignal(socket, 0)).toBe(failed('EBADF'));
    expect(addon.pidfdSignal(CLOSED, 0)).toBe(failed('EBADF'));
    const self = addon.pidfdOpen(process.pid);
    expect(addon.pidfdSignal(own(self), 4_711)).toBe(failed('EINVAL'));
    close(self);
  });
});
