// Descriptors as such: copies, flags, closing, blobs, and what two copies share (K7).
import { execFileSync } from 'node:child_process';
import { constants, fstatSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectNoLeaks, openDescriptors } from '../helpers/leaks.js';
import { addon, close, failed, onLinux, own, pair, receive, send, temporaryFolder } from './sandbox.js';

expectNoLeaks();

const { O_NONBLOCK } = addon.constants;
const CLOSED = 1_000_000;

function statusFlags(fd: number): number {
  const description = addon.describe(fd);
  return typeof description === 'number' ? description : description.statusFlags;
}

test('wrong types are -EINVAL, never a crash', () => {
  const { constants, flavor, ...calls } = addon;
  expect(Object.keys(calls)).toHaveLength(31);
  // A name is all it takes.
  const isRight = (name: string, value: unknown) => name === 'sharedFile' && typeof value === 'string';
  const garbage = [undefined, null, 'x', {}, [], Symbol('x'), 1n, new DataView(new ArrayBuffer(8)), () => 0];
  for (const [name, call] of Object.entries(calls) as [string, (...args: unknown[]) => unknown][]) {
    expect([name, call()]).toEqual([name, failed('EINVAL')]);
    for (const value of garbage.filter((value) => !isRight(name, value)))
      expect([name, call(value, value, value, value, value)]).toEqual([name, failed('EINVAL')]);
  }
  const [a, b] = pair();
  const wrongArrays = [new Float64Array(300), new Int32Array(300), 'x'.repeat(300)] as unknown as Uint8Array[];
  for (const wrong of wrongArrays) expect(addon.recvmsg(b, wrong, new Int32Array(258))).toBe(failed('EINVAL'));
  expect(addon.sendmsg(a, Buffer.alloc(1), Buffer.alloc(1) as unknown as Int32Array, 1, false)).toBe(failed('EINVAL'));
});

describe('dup3 and dupMin', () => {
  test.each([true, false])('dup3 copies to the number asked for, close-on-exec: %s', (cloexec) => {
    const [a, b] = pair();
    expect(addon.dup3(a, b, cloexec)).toBe(b);
    expect(fstatSync(b).ino).toBe(fstatSync(a).ino);
    expect(addon.getCloexec(b)).toBe(Number(cloexec));
  });

  test('dup3 onto itself is -EINVAL, of a closed one -EBADF, beyond the table -EBADF', () => {
    const [a, b] = pair();
    expect(addon.dup3(a, a, true)).toBe(failed('EINVAL'));
    expect(addon.dup3(CLOSED, b, true)).toBe(failed('EBADF'));
    expect(addon.dup3(a, CLOSED, true)).toBe(failed('EBADF'));
  });

  test('dupMin gives the lowest free number from the minimum on, close-on-exec', () => {
    const [a] = pair();
    addon.setCloexec(a, false);
    const first = own(addon.dupMin(a, 500));
    const second = own(addon.dupMin(a, 500));
    expect([first, second, addon.getCloexec(first)]).toEqual([500, 501, 1]);
    expect(addon.dupMin(CLOSED, 3)).toBe(failed('EBADF'));
    expect(addon.dupMin(a, -1)).toBe(failed('EINVAL'));
  });
});

describe('flags', () => {
  test('close-on-exec goes on and off, for this copy only', () => {
    const [a] = pair();
    const copy = own(addon.dupMin(a, 0));
    expect(addon.setCloexec(a, false)).toBe(0);
    expect([addon.getCloexec(a), addon.getCloexec(copy)]).toEqual([0, 1]);
    expect(addon.setCloexec(a, true)).toBe(0);
    expect(addon.getCloexec(a)).toBe(1);
  });

  test('of a closed descriptor: -EBADF', () => {
    expect(addon.getCloexec(CLOSED)).toBe(failed('EBADF'));
    expect(addon.setCloexec(CLOSED, true)).toBe(failed('EBADF'));
    expect(addon.setNonblocking(CLOSED, true)).toBe(failed('EBADF'));
  });
});

describe('K7: copies share the description', () => {
  test('K7: O_NONBLOCK set on one is set on the other, also on one that was sent', () => {
    const [a, b] = pair();
    const [file] = pair();
    send(a, 'x', [file]);
    const copy = receive(b).fds[0] as number;
    expect(addon.setNonblocking(copy, true)).toBe(0);
    expect(statusFlags(file) & O_NONBLOCK).toBe(O_NONBLOCK);
    expect(addon.setNonblocking(file, false)).toBe(0);
    expect(statusFlags(copy) & O_NONBLOCK).toBe(0);
  });

  test('K7: reading through one moves the offset of the other', () => {
    const blob = own(addon.sealedBlob('blob', Buffer.from('abcd')));
    const copy = own(addon.dupMin(blob, 0));
    const into = Buffer.alloc(2);
    readSync(blob, into);
    readSync(copy, into);
    expect(into.toString()).toBe('cd');
  });
});

describe('close and closeMany', () => {
  test('close of a closed one is -EBADF', () => {
    const [a] = pair();
    close(a);
    expect(addon.close(a)).toBe(failed('EBADF'));
    expect(addon.close(-1)).toBe(failed('EBADF'));
  });

  test('closeMany closes all it is told to, also behind one that fails, and reports that one', () => {
    const [a] = pair();
    const copies = Array.from({ length: 4 }, () => own(addon.dupMin(a, 0)));
    const [first, second, third, fourth] = copies as [number, number, number, number];
    expect(addon.closeMany(Int32Array.of(first, -1, second, third, fourth), 4)).toBe(failed('EBADF'));
    const open = openDescriptors();
    expect(copies.map((fd) => open.has(fd))).toEqual([false, false, false, true]);
  });

  test('closeMany of more than there are is -EINVAL and closes none', () => {
    const [a] = pair();
    expect(addon.closeMany(Int32Array.of(a), 2)).toBe(failed('EINVAL'));
    expect(addon.closeMany(Int32Array.of(a), -1)).toBe(failed('EINVAL'));
    expect(addon.getCloexec(a)).toBe(1);
    expect(addon.closeMany(new Int32Array(0), 0)).toBe(0);
  });
});

describe.runIf(addon.flavor === 'linux')('sharedFile, reopen and lockRange', () => {
  test('is writable, empty, close-on-exec; reopened, too, with an offset of its own', () => {
    const file = own(addon.sharedFile('charge'));
    expect([fstatSync(file).size, addon.getCloexec(file)]).toEqual([0, 1]);
    writeSync(file, 'abcd');
    const other = own(addon.reopen(file));
    expect([fstatSync(other).ino, addon.getCloexec(other)]).toEqual([fstatSync(file).ino, 1]);
    expect(readFileSync(other, 'latin1')).toBe('abcd');
    writeSync(other, 'efgh');
    expect(fstatSync(file).size).toBe(8);
  });

  test('a lock is of the open file description: of its copies, and of no other; it ends with the last of them', () => {
    const file = own(addon.sharedFile('charge'));
    const copy = own(addon.dupMin(file, 0));
    const other = own(addon.reopen(file));
    expect(addon.lockRange(file, 2, 0, true)).toBe(0);
    expect(addon.lockRange(copy, 2, 0, true)).toBe(0);
    expect(addon.lockRange(other, 3, 1, true)).toBe(failed('EAGAIN'));
    expect(addon.lockRange(other, 0, 2, true)).toBe(0);
    close(file);
    expect(addon.lockRange(other, 3, 1, true)).toBe(failed('EAGAIN'));
    expect(addon.lockRange(copy, 3, 1, false)).toBe(0);
    expect(addon.lockRange(other, 3, 1, true)).toBe(0);
    expect(addon.lockRange(other, 4, 0, true)).toBe(failed('EAGAIN'));
    close(copy);
    expect(addon.lockRange(other, 0, 0, true)).toBe(0);
  });

  test('what is none is told', () => {
    const file = own(addon.sharedFile('charge'));
    expect(addon.reopen(CLOSED)).toBe(failed('ENOENT'));
    expect(addon.lockRange(CLOSED, 0, 0, true)).toBe(failed('EBADF'));
    expect(addon.lockRange(file, -1, 1, true)).toBe(failed('EINVAL'));
    expect(addon.sharedFile('a\0b')).toBe(failed('EINVAL'));
  });
});

test.runIf(addon.flavor === 'portable')('sharedFile, reopen and lockRange are not there', () => {
  const [socket] = pair();
  const none = failed('ENOSYS');
  expect([addon.sharedFile('charge'), addon.reopen(socket), addon.lockRange(socket, 0, 0, true)]).toEqual([
    none,
    none,
    none,
  ]);
});

test('writeNow never waits, also where O_NONBLOCK is not set: to a socket, and to a pipe', () => {
  const [socket] = pair();
  const fifo = join(temporaryFolder(), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = own(openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK));
  const pipe = own(openSync(fifo, constants.O_WRONLY));
  const bytes = Buffer.alloc(100_000);
  for (const fd of [socket, pipe]) {
    expect(statusFlags(fd) & O_NONBLOCK).toBe(0);
    let written = 0;
    do written = addon.writeNow(fd, bytes);
    while (written > 0);
    expect(written).toBe(failed('EAGAIN'));
  }
  expect(readSync(reader, Buffer.alloc(65_536))).toBe(65_536);
  expect(addon.writeNow(pipe, Buffer.from('room'))).toBe(4);
  expect(addon.writeNow(CLOSED, bytes)).toBe(failed('EBADF'));
});

describe('sealedBlob', () => {
  test.each([0, 1, 3_000_001])('holds %i bytes, offset 0, close-on-exec', (size) => {
    const content = Buffer.alloc(size, 'handover');
    const blob = own(addon.sealedBlob('state', content));
    expect(fstatSync(blob).size).toBe(size);
    expect(content.equals(readFileSync(blob))).toBe(true);
    expect(addon.getCloexec(blob)).toBe(1);
  });

  test('nobody who has it can change it', () => {
    const blob = own(addon.sealedBlob('state', Buffer.from('abcd')));
    const refusal = addon.flavor === 'linux' ? 'EPERM' : 'EBADF';
    expect(() => writeSync(blob, 'x', 0)).toThrow(expect.objectContaining({ code: refusal }));
    for (const size of [0, 100]) {
      expect(() => ftruncateSync(blob, size)).toThrow(
        expect.objectContaining({ code: addon.flavor === 'linux' ? 'EPERM' : 'EINVAL' }),
      );
    }
  });

  test.runIf(onLinux)('is in no folder', () => {
    const blob = own(addon.sealedBlob('state', Buffer.from('x')));
    const target = openDescriptors().get(blob);
    expect(target).toMatch(addon.flavor === 'linux' ? /^\/memfd:state \(deleted\)$/ : /\/handover-.{6} \(deleted\)$/);
  });

  test('a name with a NUL is -EINVAL', () => {
    expect(addon.sealedBlob('a\0b', Buffer.from('x'))).toBe(failed('EINVAL'));
  });
});
