// Descriptors in messages: sendmsg and recvmsg, and the facts of the kernel they are shaped by (K1 to K6).
import { execFileSync } from 'node:child_process';
import { fstatSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { expectNoLeaks } from '../helpers/leaks.js';
import {
  addon,
  addonFile,
  close,
  failed,
  hasPython,
  NO_FDS,
  onLinux,
  own,
  pair,
  python,
  receive,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
  send,
} from './sandbox.js';

expectNoLeaks();

const bytes = Buffer.from('x');

describe('sendmsg and recvmsg', () => {
  test('a descriptor arrives as another one for the same file, ours stays open', () => {
    const [a, b] = pair();
    const [file] = pair();
    expect(send(a, 'hello', [file])).toBe(5);
    const { text, fds, credentials } = receive(b);
    expect([text, fds.length, credentials]).toEqual(['hello', 1, undefined]);
    expect(fds[0]).not.toBe(file);
    expect(fstatSync(fds[0] as number).ino).toBe(fstatSync(file).ino);
  });

  test('only the first fdCount descriptors are sent', () => {
    const [a, b] = pair();
    expect(addon.sendmsg(a, bytes, Int32Array.of(a, b, -1), 2, false)).toBe(1);
    expect(receive(b).fds).toHaveLength(2);
  });

  test('a view into a larger buffer sends and receives its own bytes only', () => {
    const [a, b] = pair();
    expect(addon.sendmsg(a, Buffer.from('abcdef').subarray(2, 4), NO_FDS, 0, false)).toBe(2);
    const into = Buffer.alloc(8, '.');
    expect(addon.recvmsg(b, into.subarray(3), new Int32Array(258))).toBe(2);
    expect(into.toString()).toBe('...cd...');
  });

  test('0 is the end of the stream, -EAGAIN an empty non-blocking socket', () => {
    const [a, b] = pair();
    addon.setNonblocking(b, true);
    expect(receive(b).result).toBe(failed('EAGAIN'));
    close(a);
    expect(receive(b).result).toBe(0);
  });

  test('a dead peer is -EPIPE, not SIGPIPE', () => {
    const [a, b] = pair();
    close(b);
    expect(send(a, 'x')).toBe(failed('EPIPE'));
  });

  test('a full non-blocking socket takes a part, with all descriptors', () => {
    const [a, b] = pair();
    addon.setNonblocking(a, true);
    const sent = addon.sendmsg(a, Buffer.alloc(8 << 20), Int32Array.of(a), 1, false);
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(8 << 20);
    expect(addon.sendmsg(a, bytes, Int32Array.of(a), 1, false)).toBe(failed('EAGAIN'));
    expect(receive(b).fds).toHaveLength(1);
  });

  test('a bad descriptor to send is -EBADF and sends nothing', () => {
    const [a, b] = pair();
    addon.setNonblocking(b, true);
    expect(send(a, 'x', [a, 1_000_000])).toBe(failed('EBADF'));
    expect(receive(b).result).toBe(failed('EAGAIN'));
  });

  test('a descriptor that is no socket, or none at all', () => {
    const blob = own(addon.sealedBlob('blob', bytes));
    expect(send(blob, 'x')).toBe(failed('ENOTSOCK'));
    expect(receive(blob).result).toBe(failed('ENOTSOCK'));
    expect(send(-1, 'x')).toBe(failed('EBADF'));
    expect(receive(-1).result).toBe(failed('EBADF'));
  });

  test('counts and buffers that do not fit are -EINVAL', () => {
    const [a, b] = pair();
    expect(addon.sendmsg(a, bytes, Int32Array.of(b), 2, false)).toBe(failed('EINVAL'));
    expect(addon.sendmsg(a, bytes, Int32Array.of(b), -1, false)).toBe(failed('EINVAL'));
    expect(addon.recvmsg(b, Buffer.alloc(0), new Int32Array(258))).toBe(failed('EINVAL'));
    expect(addon.recvmsg(b, Buffer.alloc(1), new Int32Array(257))).toBe(failed('EINVAL'));
  });

  test.runIf(onLinux)('credentials arrive where SO_PASSCRED is set, beside 253 descriptors', () => {
    const [a, b] = pair();
    const passCredentials = addon.constants.SO_PASSCRED as number;
    expect(addon.setsockopt(b, SOL_SOCKET, passCredentials, Buffer.from(Int32Array.of(1).buffer))).toBe(0);
    expect(send(a, 'x', Array(253).fill(a), true)).toBe(1);
    const { fds, credentials } = receive(b);
    expect(fds).toHaveLength(253);
    expect(credentials).toEqual({ pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  });

  test('a packet larger than the buffer is -EMSGSIZE and leaves nothing open', () => {
    const [a, b] = pair(SOCK_SEQPACKET);
    expect(send(a, 'too long', [a])).toBe(8);
    expect(receive(b, 4)).toMatchObject({ result: failed('EMSGSIZE'), fds: [] });
  });
});

describe('K1: descriptors need a byte', () => {
  test('K1: sending none is -EINVAL', () => {
    const [a] = pair();
    expect(send(a, '', [a])).toBe(failed('EINVAL'));
    expect(send(a, '')).toBe(failed('EINVAL'));
  });

  test.runIf(hasPython && onLinux)('K1: on a stream, the kernel returns 0 and drops them', () => {
    const [a, b] = pair(SOCK_STREAM);
    const program = `
s = socket.socket(fileno=3)
print(s.sendmsg([], [(SOL_SOCKET, SCM_RIGHTS, array.array('i', [0]))]))
s.send(b'x')`;
    expect(python(program, [a])).toBe(0);
    expect(receive(b)).toMatchObject({ text: 'x', fds: [] });
  });

  test.runIf(hasPython && onLinux)(
    'K1: on a packet socket, where they look like the end, they are closed: -EBADMSG',
    () => {
      const [a, b] = pair(SOCK_SEQPACKET);
      python(`socket.socket(fileno=3).sendmsg([], [(SOL_SOCKET, SCM_RIGHTS, array.array('i', [0]))])`, [a]);
      expect(receive(b)).toMatchObject({ result: failed('EBADMSG'), fds: [] });
    },
  );
});

describe('K2: how many', () => {
  test('K2: 253 pass in one message', () => {
    const [a, b] = pair();
    expect(send(a, 'x', Array(253).fill(a))).toBe(1);
    expect(receive(b).fds).toHaveLength(253);
  });

  test('K2: 254 are -EINVAL', () => {
    const [a] = pair();
    expect(send(a, 'x', Array(254).fill(a))).toBe(failed('EINVAL'));
  });

  test.runIf(hasPython && onLinux)('K2: by the kernel, too', () => {
    const [a] = pair();
    const program = `
try: socket.socket(fileno=3).sendmsg([b'x'], [(SOL_SOCKET, SCM_RIGHTS, array.array('i', [0] * 254))])
except OSError as error: print(-error.errno)`;
    expect(python(program, [a])).toBe(failed('EINVAL'));
  });
});

describe('K3: truncation', () => {
  test.runIf(onLinux)('K3: a truncated receive leaves nothing open', () => {
    // The one truncation a buffer for 253 cannot prevent: a descriptor table that is full, or nearly.
    const fixture = fileURLToPath(new URL('fixtures/full-table.mjs', import.meta.url));
    const command = 'ulimit -n 128 && exec "$0" "$@"';
    const output = execFileSync('sh', ['-c', command, process.execPath, fixture, addonFile], { encoding: 'utf8' });
    expect(JSON.parse(output)).toEqual({
      roomForThree: { result: failed('ENOBUFS'), count: 0, left: 0 },
      roomForNone: { result: failed('ENOBUFS'), count: 0, left: 0 },
      roomForAll: { result: 1, count: 10, left: 10 },
    });
  });

  test.runIf(hasPython && onLinux)('K3: by itself the kernel leaves open what it cut; room for one admits two', () => {
    const [a, b] = pair();
    expect(send(a, 'x', [a, a, a, a, a])).toBe(1);
    const program = `
s = socket.socket(fileno=3)
before = len(os.listdir('/proc/self/fd'))
_, _, flags, _ = s.recvmsg(1, socket.CMSG_SPACE(4))
print(json.dumps([len(os.listdir('/proc/self/fd')) - before, flags & socket.MSG_CTRUNC != 0]))`;
    expect(python(program, [b])).toEqual([2, true]);
  });
});

describe('K4: close-on-exec', () => {
  test('K4: received descriptors are close-on-exec, also where the sent one was not', () => {
    const [a, b] = pair();
    expect(addon.setCloexec(a, false)).toBe(0);
    expect(send(a, 'x', [a, b])).toBe(1);
    expect(receive(b).fds.map((fd) => addon.getCloexec(fd))).toEqual([1, 1]);
  });

  test.runIf(hasPython && onLinux)('K4: by itself the kernel makes them inheritable', () => {
    const [a, b] = pair();
    expect(send(a, 'x', [a])).toBe(1);
    const program = `
_, [(_, _, data)], _, _ = socket.socket(fileno=3).recvmsg(1, socket.CMSG_SPACE(4))
print(json.dumps(os.get_inheritable(int.from_bytes(data[:4], 'little'))))`;
    expect(python(program, [b])).toBe(true);
  });
});

describe.runIf(onLinux)('K5: descriptors belong to a read', () => {
  test('K5: a read goes on to the end of the message that carries them, and stops there', () => {
    const [a, b] = pair();
    send(a, 'AAAA');
    send(a, 'BBBB', [a]);
    send(a, 'CCCC');
    expect(receive(b)).toMatchObject({ text: 'AAAABBBB', fds: [expect.any(Number)] });
    expect(receive(b)).toMatchObject({ text: 'CCCC', fds: [] });
  });

  test('K5: on a short read they come with the first byte', () => {
    const [a, b] = pair();
    send(a, 'BBBB', [a]);
    expect(receive(b, 1)).toMatchObject({ text: 'B', fds: [expect.any(Number)] });
    expect(receive(b)).toMatchObject({ text: 'BBB', fds: [] });
  });
});

describe('K6: other ways to read', () => {
  test('K6: a plain read closes the descriptors silently', () => {
    const [a, b] = pair();
    const [passed, other] = pair();
    addon.setNonblocking(other, true);
    send(a, 'x', [passed]);
    close(passed);
    expect(receive(other).result).toBe(failed('EAGAIN'));
    expect(readSync(b, Buffer.alloc(1))).toBe(1);
    expect(receive(other).result).toBe(0);
  });

  test.runIf(hasPython && onLinux)('K6: MSG_PEEK duplicates them each time', () => {
    const [a, b] = pair();
    send(a, 'x', [a]);
    const program = `
s = socket.socket(fileno=3)
before = len(os.listdir('/proc/self/fd'))
for flags in (socket.MSG_PEEK, socket.MSG_PEEK, 0): s.recvmsg(1, socket.CMSG_SPACE(4), flags)
print(len(os.listdir('/proc/self/fd')) - before)`;
    expect(python(program, [b])).toBe(3);
  });
});
