// sendFds and recvFds: what they carry, and every way they refuse.
import { fstatSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  dupFd,
  getCloexec,
  MAX_FDS_PER_MESSAGE,
  recvFds,
  sendFds,
  setCloexec,
  setNonblocking,
} from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import {
  byte,
  close,
  closedFd,
  fillTable,
  inode,
  isAtEnd,
  onLinux,
  own,
  pair,
  rangeRefusal,
  receive,
  refusal,
  thrownBy,
  typeRefusal,
} from './sandbox.js';

expectNoLeaks();

const FD = 'an integer from 0 to 2147483647';

describe('good use', () => {
  test('sendFds borrows, recvFds gives: other numbers, the same open files, close-on-exec', () => {
    const [a, b] = pair();
    const [file] = pair();
    setCloexec(file, false);
    expect(sendFds(a, Buffer.from('hello'), [file, 2])).toBe(5);
    const { bytes, fds, ...rest } = receive(b);
    expect(bytes.toString()).toBe('hello');
    expect(rest).toEqual({});
    expect([...fds].map(inode)).toEqual([inode(file), inode(2)]);
    expect([...fds].map(getCloexec)).toEqual([true, true]);
    expect(fstatSync(file).isSocket()).toBe(true);
  });

  test('sendFds takes no descriptors, an Int32Array, a Uint8Array, and 253', () => {
    const [a, b] = pair();
    sendFds(a, Uint8Array.of(1, 2), []);
    expect([...receive(b).bytes]).toEqual([1, 2]);
    sendFds(a, byte, Int32Array.of(a));
    expect(receive(b).fds).toHaveLength(1);
    sendFds(a, byte, Array<number>(MAX_FDS_PER_MESSAGE).fill(a));
    expect(receive(b).fds).toHaveLength(253);
  });

  test('recvFds reads at most maxBytes, into given memory, and nothing beside it', () => {
    const [a, b] = pair();
    sendFds(a, Buffer.from('abcdef'), []);
    expect(recvFds(b, { maxBytes: 2 }).bytes.toString()).toBe('ab');
    const memory = Buffer.alloc(6, '.');
    const { bytes } = recvFds(b, { into: memory.subarray(1), maxBytes: 2 });
    expect([bytes.toString(), bytes.buffer === memory.buffer, memory.toString()]).toEqual(['cd', true, '.cd...']);
    expect(recvFds(b, { into: memory }).bytes.toString()).toBe('ef');
  });

  test('recvFds gives bytes of its own: a later reception does not change them', () => {
    const [a, b] = pair();
    sendFds(a, Buffer.from('first'), []);
    const first = recvFds(b);
    sendFds(a, Buffer.from('later'), []);
    recvFds(b);
    expect(first.bytes.toString()).toBe('first');
  });

  test('recvFds answers the end of the stream with no bytes, each time', () => {
    const [a, b] = pair();
    close(a);
    expect(recvFds(b)).toEqual({ bytes: Buffer.alloc(0), fds: new Int32Array(0) });
    expect(recvFds(b).bytes).toHaveLength(0);
  });

  test.runIf(onLinux)('sendFds attaches credentials, which recvFds tells where SO_PASSCRED is set', () => {
    const [a, b] = pair();
    const { SOL_SOCKET, SO_PASSCRED } = native().constants;
    native().setsockopt(b, SOL_SOCKET, SO_PASSCRED as number, new Uint8Array(Int32Array.of(1).buffer));
    sendFds(a, byte, [a], { credentials: true });
    const { credentials, fds } = receive(b);
    expect(credentials).toEqual({ pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
    expect(fds).toHaveLength(1);
  });
});

describe('bad arguments are refused before any system call', () => {
  type Arguments = [unknown, unknown, unknown?, unknown?];
  const list = 'an array of integers or an Int32Array';

  test.each<[string, (socket: number) => Arguments, object]>([
    ['a negative socket', () => [-1, byte, []], rangeRefusal(`"socket" must be ${FD}. Received -1`)],
    ['a fraction', () => [1.5, byte, []], rangeRefusal(`"socket" must be ${FD}. Received 1.5`)],
    ['NaN', () => [Number.NaN, byte, []], rangeRefusal(`"socket" must be ${FD}. Received NaN`)],
    ['beyond an int', () => [2 ** 31, byte, []], rangeRefusal(`"socket" must be ${FD}. Received 2147483648`)],
    ['no number', () => ['3', byte, []], typeRefusal(`"socket" must be ${FD}. Received '3'`)],
    ['nothing', () => [undefined, byte, []], typeRefusal(`"socket" must be ${FD}. Received undefined`)],
    [
      'no bytes',
      (socket) => [socket, Buffer.alloc(0), [socket]],
      rangeRefusal('"bytes.length" must be at least 1: descriptors need a byte to travel with. Received 0'),
    ],
    ['text', (socket) => [socket, 'x', []], typeRefusal(`"bytes" must be a Buffer or Uint8Array. Received 'x'`)],
    ['no list', (socket) => [socket, byte, 3], typeRefusal(`"fds" must be ${list}. Received 3`)],
    ['no list at all', (socket) => [socket, byte], typeRefusal(`"fds" must be ${list}. Received undefined`)],
    [
      'a negative descriptor',
      (socket) => [socket, byte, [socket, -1]],
      rangeRefusal(`"fds[1]" must be ${FD}. Received -1`),
    ],
    [
      'a negative one of an Int32Array',
      (socket) => [socket, byte, Int32Array.of(-2)],
      rangeRefusal(`"fds[0]" must be ${FD}. Received -2`),
    ],
    ['text for one', (socket) => [socket, byte, ['1']], typeRefusal(`"fds[0]" must be ${FD}. Received '1'`)],
    [
      '254',
      (socket) => [socket, byte, Array(254).fill(socket)],
      rangeRefusal('"fds.length" must be at most 253. Received 254'),
    ],
    [
      'an unknown option',
      (socket) => [socket, byte, [], { flags: 0 }],
      typeRefusal(`"options.flags" must be absent; the options are credentials. Received 'flags'`),
    ],
    [
      'options that are none',
      (socket) => [socket, byte, [], 1],
      typeRefusal('"options" must be an object. Received 1'),
    ],
    [
      'an option of another type',
      (socket) => [socket, byte, [], { credentials: 1 }],
      typeRefusal('"options.credentials" must be a boolean. Received 1'),
    ],
  ])('sendFds: %s', (_, given, expected) => {
    const [a, b] = pair();
    expect(thrownBy(() => Reflect.apply(sendFds, undefined, given(a)))).toEqual(expected);
    expect(thrownBy(() => recvFds(b))).toMatchObject({ code: 'EAGAIN' });
  });

  test.each<[string, (socket: number) => unknown[], object]>([
    ['a negative socket', () => [-1], rangeRefusal(`"socket" must be ${FD}. Received -1`)],
    ['null', () => [null], typeRefusal(`"socket" must be ${FD}. Received null`)],
    [
      'no bytes',
      (b) => [b, { maxBytes: 0 }],
      rangeRefusal('"options.maxBytes" must be an integer from 1 to 2147483647. Received 0'),
    ],
    [
      'text',
      (b) => [b, { maxBytes: '9' }],
      typeRefusal(`"options.maxBytes" must be an integer from 1 to 2147483647. Received '9'`),
    ],
    [
      'no memory',
      (b) => [b, { into: Buffer.alloc(0) }],
      rangeRefusal('"options.into.length" must be at least 1. Received 0'),
    ],
    [
      'an array',
      (b) => [b, { into: [1] }],
      typeRefusal('"options.into" must be a Buffer or Uint8Array. Received [ 1 ]'),
    ],
    [
      'both, one bad',
      (b) => [b, { into: Buffer.alloc(1), maxBytes: -1 }],
      rangeRefusal('"options.maxBytes" must be an integer from 1 to 2147483647. Received -1'),
    ],
    [
      'an unknown option',
      (b) => [b, { maxFds: 3 }],
      typeRefusal(`"options.maxFds" must be absent; the options are maxBytes, into. Received 'maxFds'`),
    ],
    ['null for options', (b) => [b, null], typeRefusal('"options" must be an object. Received null')],
  ])('recvFds: %s', (_, given, expected) => {
    const [a, b] = pair();
    sendFds(a, byte, [a]);
    expect(thrownBy(() => Reflect.apply(recvFds, undefined, given(b)))).toEqual(expected);
    expect(receive(b).fds).toHaveLength(1);
  });
});

describe('what the system refuses', () => {
  test('sendFds: a closed socket, no socket, one end left, a full one', () => {
    const closed = closedFd();
    expect(thrownBy(() => sendFds(closed, byte, []))).toEqual(refusal('EBADF', 'sendmsg', { fd: closed }));
    const [a, b] = pair();
    const blob = own(native().sealedBlob('blob', byte));
    expect(thrownBy(() => sendFds(blob, byte, [2]))).toEqual(refusal('ENOTSOCK', 'sendmsg', { fd: blob }));
    let sent = 0;
    const full = thrownBy(() => {
      for (;;) sent += sendFds(a, Buffer.alloc(65_536), []);
    });
    expect(full).toEqual(refusal('EAGAIN', 'sendmsg', { fd: a }));
    expect(sent).toBeGreaterThan(0);
    close(b);
    expect(thrownBy(() => sendFds(a, byte, []))).toEqual(refusal('EPIPE', 'sendmsg', { fd: a }));
  });

  test('sendFds: a closed descriptor among others sends none of them, and no byte', () => {
    const [a, b] = pair();
    const closed = closedFd();
    expect(thrownBy(() => sendFds(a, byte, [a, closed, b]))).toEqual(refusal('EBADF', 'sendmsg', { fd: a }));
    expect(thrownBy(() => recvFds(b))).toEqual(refusal('EAGAIN', 'recvmsg', { fd: b }));
  });

  test('the message names the call, the code, what it means and the descriptor', () => {
    const closed = closedFd();
    expect(() => sendFds(closed, byte, [])).toThrow(`sendmsg EBADF: bad file descriptor, fd ${closed}`);
    expect(() => recvFds(closed)).toThrow(`recvmsg EBADF: bad file descriptor, fd ${closed}`);
  });

  test('recvFds: nothing there, no socket, a packet that was cut', () => {
    const [, b] = pair();
    expect(thrownBy(() => recvFds(b))).toEqual(refusal('EAGAIN', 'recvmsg', { fd: b }));
    const blob = own(native().sealedBlob('blob', byte));
    expect(thrownBy(() => recvFds(blob))).toEqual(refusal('ENOTSOCK', 'recvmsg', { fd: blob }));
  });

  test('recvFds: a packet longer than maxBytes is EMSGSIZE and its descriptors are closed', () => {
    const [a, b] = pair('dgram');
    const [passed, other] = pair();
    sendFds(a, Buffer.from('too long'), [passed]);
    close(passed);
    expect(thrownBy(() => recvFds(b, { maxBytes: 3 }))).toEqual(refusal('EMSGSIZE', 'recvmsg', { fd: b }));
    expect(isAtEnd(other)).toBe(true);
  });

  test.runIf(onLinux).each([0, 3])('K3: a table with room for %i of 10: ENOBUFS, all of them closed', (room) => {
    const [a, b] = pair();
    const [passed, other] = pair();
    sendFds(a, byte, Array(10).fill(passed));
    close(passed);
    const empty = fillTable(room);
    let error: unknown;
    try {
      error = thrownBy(() => recvFds(b));
    } finally {
      empty();
    }
    // They have left the stream all the same.
    expect(error).toEqual({ ...refusal('ENOBUFS', 'recvmsg', { fd: b }), bytes: byte });
    expect(isAtEnd(other)).toBe(true);
  });

  test.runIf(onLinux)('K3: a table with room for all of them is full, and no error', () => {
    const [a, b] = pair();
    sendFds(a, byte, Array(10).fill(a));
    const empty = fillTable(10);
    try {
      expect(receive(b).fds).toHaveLength(10);
    } finally {
      empty();
    }
  });
});

test('1,000 rounds of 8 descriptors leave the table as it was', () => {
  const [a, b] = pair();
  setNonblocking(a);
  const eight = Array<number>(8).fill(a);
  const next = dupFd(a);
  close(next);
  for (let round = 0; round < 1_000; round++) {
    sendFds(a, byte, eight);
    const { fds } = recvFds(b);
    expect(fds).toHaveLength(8);
    for (const fd of fds) close(fd);
  }
  const after = dupFd(a);
  close(after);
  expect(after).toBe(next);
});
