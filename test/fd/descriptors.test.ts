// Single descriptors: copies, flags, closing, blobs, descriptions, and who is at the other end.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  bindListener,
  closeFd,
  closeFds,
  describeFd,
  dup3,
  dupFd,
  getCloexec,
  peerCredentials,
  recvFds,
  sealedBlob,
  sendFds,
  setCloexec,
  setNonblocking,
  socketpair,
} from '../../lib/fd/index.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import {
  byte,
  closedFd,
  disown,
  hasLinuxFloor,
  inode,
  isAtEnd,
  onLinux,
  own,
  pair,
  rangeRefusal,
  receive,
  refusal,
  temporaryFolder,
  thrownBy,
  typeRefusal,
} from './sandbox.js';

expectNoLeaks();

const FD = 'an integer from 0 to 2147483647';

describe('socketpair', () => {
  test.each(['stream', 'dgram', 'seqpacket'] as const)('%s: both ends close-on-exec and non-blocking', (type) => {
    const fds = pair(type);
    for (const fd of fds) {
      expect(describeFd(fd)).toMatchObject({ cloexec: true, nonblocking: true, socket: { type, family: 'unix' } });
    }
    sendFds(fds[0], byte, []);
    expect(recvFds(fds[1]).bytes.toString()).toBe('x');
  });

  test('another type is a TypeError that lists them', () => {
    expect(thrownBy(() => socketpair('raw' as 'stream'))).toEqual(
      typeRefusal(`"type" must be one of stream, dgram, seqpacket. Received 'raw'`),
    );
  });
});

describe('dup3', () => {
  test('replaces what was there and closes it; close-on-exec by default, or as told', () => {
    const [from] = pair();
    const [to, other] = pair();
    expect(dup3(from, to)).toBe(to);
    expect([inode(to), getCloexec(to)]).toEqual([inode(from), true]);
    expect(isAtEnd(other)).toBe(true);
    expect(getCloexec(dup3(from, to, false))).toBe(false);
  });

  test('refuses what is closed, itself, and what is no descriptor', () => {
    const [a, b] = pair();
    const closed = closedFd();
    expect(thrownBy(() => dup3(closed, b))).toEqual(refusal('EBADF', 'dup3', { fd: closed }));
    expect(thrownBy(() => dup3(a, a))).toEqual(refusal('EINVAL', 'dup3', { fd: a }));
    expect(thrownBy(() => dup3(a, 2 ** 31 - 1))).toEqual(refusal('EBADF', 'dup3', { fd: a }));
    expect(thrownBy(() => dup3(-1, b))).toEqual(rangeRefusal(`"from" must be ${FD}. Received -1`));
    expect(thrownBy(() => dup3(a, -1))).toEqual(rangeRefusal(`"to" must be ${FD}. Received -1`));
    expect(thrownBy(() => dup3(a, undefined as never))).toEqual(typeRefusal(`"to" must be ${FD}. Received undefined`));
    expect(thrownBy(() => dup3(a, b, 1 as never))).toEqual(typeRefusal('"cloexec" must be a boolean. Received 1'));
    expect(inode(b)).not.toBe(inode(a));
  });
});

describe('dupFd', () => {
  test('gives a close-on-exec copy from the minimum on', () => {
    const [a] = pair();
    setCloexec(a, false);
    const copy = own(dupFd(a, 300));
    expect(copy).toBeGreaterThanOrEqual(300);
    expect([inode(copy), getCloexec(copy)]).toEqual([inode(a), true]);
    expect(own(dupFd(a))).toBeLessThan(300);
  });

  test('refuses', () => {
    const closed = closedFd();
    expect(thrownBy(() => dupFd(closed))).toEqual(refusal('EBADF', 'fcntl', { fd: closed }));
    expect(thrownBy(() => dupFd(2, 2 ** 31 - 1))).toEqual(refusal('EINVAL', 'fcntl', { fd: 2 }));
    expect(thrownBy(() => dupFd(2, -1))).toEqual(rangeRefusal(`"minimum" must be ${FD}. Received -1`));
    expect(thrownBy(() => dupFd('2' as never))).toEqual(typeRefusal(`"fd" must be ${FD}. Received '2'`));
  });
});

describe('closeFd and closeFds', () => {
  test('close, also those behind one that fails, which is reported', () => {
    const [a, otherOfA] = pair();
    const [b, otherOfB] = pair();
    const closed = closedFd();
    expect(thrownBy(() => closeFds([closed, disown(a), disown(b)]))).toEqual(refusal('EBADF', 'close'));
    expect([isAtEnd(otherOfA), isAtEnd(otherOfB)]).toEqual([true, true]);
    closeFds([]);
  });

  test('refuse', () => {
    const [a] = pair();
    const closed = closedFd();
    expect(thrownBy(() => closeFd(closed))).toEqual(refusal('EBADF', 'close', { fd: closed }));
    expect(thrownBy(() => closeFd(-1))).toEqual(rangeRefusal(`"fd" must be ${FD}. Received -1`));
    expect(thrownBy(() => closeFd(null as never))).toEqual(typeRefusal(`"fd" must be ${FD}. Received null`));
    expect(thrownBy(() => closeFds(a as never))).toEqual(
      typeRefusal(`"fds" must be an array of integers or an Int32Array. Received ${a}`),
    );
    expect(thrownBy(() => closeFds([a, -1]))).toEqual(rangeRefusal(`"fds[1]" must be ${FD}. Received -1`));
    expect(describeFd(a).kind).toBe('socket');
  });
});

describe('flags', () => {
  test('setCloexec and setNonblocking set what describeFd tells, on by default', () => {
    const [a] = pair();
    setCloexec(a, false);
    setNonblocking(a, false);
    expect(describeFd(a)).toMatchObject({ cloexec: false, nonblocking: false });
    setCloexec(a);
    setNonblocking(a);
    expect(describeFd(a)).toMatchObject({ cloexec: true, nonblocking: true });
  });

  test.each([
    ['setCloexec', setCloexec],
    ['setNonblocking', setNonblocking],
    ['getCloexec', getCloexec],
  ] as const)('%s refuses', (name, call: (fd: number, on?: boolean) => unknown) => {
    const closed = closedFd();
    expect(thrownBy(() => call(closed))).toEqual(refusal('EBADF', 'fcntl', { fd: closed }));
    expect(thrownBy(() => call(-1))).toEqual(rangeRefusal(`"fd" must be ${FD}. Received -1`));
    if (name === 'getCloexec') return;
    expect(thrownBy(() => call(2, 1 as never))).toEqual(typeRefusal('"on" must be a boolean. Received 1'));
  });
});

describe('describeFd', () => {
  test('tells kind and inode of what is no socket', () => {
    const folder = temporaryFolder();
    const folderFd = own(openSync(folder, 'r'));
    expect(describeFd(folderFd)).toMatchObject({ fd: folderFd, kind: 'directory', cloexec: true });
    const file = own(openSync(join(folder, 'file'), 'w'));
    expect(describeFd(file)).toMatchObject({ kind: 'file', nonblocking: false });
    expect(describeFd(own(openSync('/dev/null', 'r'))).kind).toBe('character');
    expect('socket' in describeFd(file)).toBe(false);
  });

  test('tells a pipe', () => {
    const path = join(temporaryFolder(), 'pipe');
    execFileSync('mkfifo', [path]);
    expect(describeFd(own(openSync(path, 'r+'))).kind).toBe('pipe');
  });

  test('tells the addresses of both ends, and the cookie every copy shares', () => {
    const listener = own(bindListener({ port: 0, host: '127.0.0.1' }));
    const { socket } = describeFd(listener);
    expect(socket).toMatchObject({ family: 'ipv4', type: 'stream', listening: true, protocol: 6 });
    expect(socket?.local).toEqual({ address: '127.0.0.1', family: 'IPv4', port: expect.any(Number) });
    expect(socket && 'peer' in socket).toBe(false);
    const [a, b] = pair();
    sendFds(a, byte, [listener]);
    const [copy = -1] = receive(b).fds;
    expect(describeFd(copy).socket).toEqual(socket);
    if (hasLinuxFloor) expect(socket?.cookie).toEqual(expect.any(BigInt));
    expect(describeFd(a).socket).toMatchObject({ listening: false });
    expect(describeFd(a).socket && 'local' in (describeFd(a).socket as object)).toBe(false);
  });

  test('refuses', () => {
    const closed = closedFd();
    expect(thrownBy(() => describeFd(closed))).toEqual(refusal('EBADF', 'fstat', { fd: closed }));
    expect(thrownBy(() => describeFd(-1))).toEqual(rangeRefusal(`"fd" must be ${FD}. Received -1`));
    expect(thrownBy(() => describeFd({} as never))).toEqual(typeRefusal(`"fd" must be ${FD}. Received {}`));
  });
});

describe('peerCredentials', () => {
  test('G6: tells who is at the other end', () => {
    const [a] = pair();
    const me = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
    expect(peerCredentials(a)).toEqual(me);
    expect(peerCredentials(a, { pidfd: false })).toEqual(me);
  });

  test.runIf(onLinux)('gives a pidfd on request, close-on-exec', () => {
    const [a] = pair();
    const { pidfd } = peerCredentials(a, { pidfd: true });
    // Linux 6.5 and later.
    if (pidfd === undefined) return;
    expect(getCloexec(own(pidfd))).toBe(true);
    expect(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8')).toMatch(new RegExp(`^Pid:\\s*${process.pid}$`, 'm'));
  });

  test('refuses', () => {
    const closed = closedFd();
    const [a] = pair();
    expect(thrownBy(() => peerCredentials(closed))).toEqual(refusal('EBADF', 'getsockopt', { fd: closed }));
    const file = own(openSync('/dev/null', 'r'));
    expect(thrownBy(() => peerCredentials(file))).toEqual(refusal('ENOTSOCK', 'getsockopt', { fd: file }));
    expect(thrownBy(() => peerCredentials(-1))).toEqual(rangeRefusal(`"socket" must be ${FD}. Received -1`));
    expect(thrownBy(() => peerCredentials(a, { pid: true } as never))).toEqual(
      typeRefusal(`"options.pid" must be absent; the options are pidfd. Received 'pid'`),
    );
    expect(thrownBy(() => peerCredentials(a, { pidfd: 'yes' } as never))).toEqual(
      typeRefusal(`"options.pidfd" must be a boolean. Received 'yes'`),
    );
  });
});

describe('sealedBlob', () => {
  test('holds the bytes, from the start, close-on-exec, and nobody can change them', () => {
    const fd = own(sealedBlob('state', Buffer.from('the state')));
    expect(getCloexec(fd)).toBe(true);
    const into = Buffer.alloc(20);
    expect(into.toString('utf8', 0, readSync(fd, into, 0, 20, 0))).toBe('the state');
    expect(() => writeSync(fd, 'x')).toThrow(/EBADF|EPERM/);
    if (!hasLinuxFloor) return;
    // The descriptor is read-only; whoever opens the memory again for writing meets the seals.
    const again = openSync(`/proc/self/fd/${fd}`, 'r+');
    onTestFinished(() => closeSync(again));
    expect(() => writeSync(again, 'x')).toThrow('EPERM');
  });

  test('may be empty', () => {
    const fd = own(sealedBlob('empty', new Uint8Array(0)));
    expect(readSync(fd, Buffer.alloc(1), 0, 1, 0)).toBe(0);
  });

  test('refuses', () => {
    expect(thrownBy(() => sealedBlob('', byte))).toEqual(typeRefusal(`"name" must be a non-empty string. Received ''`));
    expect(thrownBy(() => sealedBlob(1 as never, byte))).toEqual(
      typeRefusal('"name" must be a non-empty string. Received 1'),
    );
    expect(thrownBy(() => sealedBlob('name', 'text' as never))).toEqual(
      typeRefusal(`"bytes" must be a Buffer or Uint8Array. Received 'text'`),
    );
    expect(thrownBy(() => sealedBlob('a\0b', byte))).toEqual(refusal('EINVAL', 'memfd_create'));
  });
});
