// Sockets: made, bound, connected, described; who is at the other end (K10), what shutdown does to a listener (K7).
import { existsSync, fstatSync, readFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { RawAddress, RawDescription } from '../../lib/fd/native.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  addon,
  close,
  failed,
  hasPython,
  onLinux,
  own,
  pair,
  python,
  receive,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
  send,
  temporaryFolder,
} from './sandbox.js';

expectNoLeaks();

const { FD_CLOEXEC, IPPROTO_IPV6, IPV6_V6ONLY, SO_REUSEADDR, SO_REUSEPORT } = addon.constants;
const CLOSED = 1_000_000;
const [IPPROTO_TCP, IPPROTO_UDP] = [6, 17];

const int = (value: number): Buffer => Buffer.from(Int32Array.of(value).buffer);

function newSocket(family: number, type = SOCK_STREAM): number {
  return own(addon.socket(family, type, 0));
}

function describeFd(fd: number): RawDescription {
  const description = addon.describe(fd);
  if (typeof description === 'number') throw new Error(`describe: ${description}`);
  return description;
}

function describeSocket(fd: number): NonNullable<RawDescription['socket']> {
  const { socket } = describeFd(fd);
  if (socket === undefined) throw new Error('not a socket');
  return socket;
}

function portOf(address: RawAddress | undefined): number {
  return address !== undefined && 'port' in address ? address.port : -1;
}

describe('socket and socketpair', () => {
  test.each([
    [AF_INET, SOCK_STREAM, IPPROTO_TCP],
    [AF_INET, SOCK_DGRAM, IPPROTO_UDP],
    [AF_INET6, SOCK_STREAM, IPPROTO_TCP],
    [AF_UNIX, SOCK_STREAM, 0],
    [AF_UNIX, SOCK_SEQPACKET, 0],
  ])('family %i, type %i is made close-on-exec, and described', (family, type, protocol) => {
    const fd = newSocket(family, type);
    expect(describeFd(fd)).toMatchObject({
      fdFlags: FD_CLOEXEC,
      socket: { family, type, protocol, listening: false },
    });
  });

  test('both ends of a pair are close-on-exec', () => {
    expect(pair(SOCK_SEQPACKET).map((fd) => addon.getCloexec(fd))).toEqual([1, 1]);
  });

  test('an unknown family is -EAFNOSUPPORT, a short array -EINVAL', () => {
    expect(addon.socket(9999, SOCK_STREAM, 0)).toBe(failed('EAFNOSUPPORT'));
    expect(addon.socketpair(SOCK_STREAM, new Int32Array(1))).toBe(failed('EINVAL'));
    expect(addon.socketpair(9, new Int32Array(2))).toBeLessThan(0);
  });
});

describe('bindIp and listen', () => {
  test.each([
    [AF_INET, '127.0.0.1'],
    [AF_INET6, '::1'],
  ])('family %i: a listener takes connections at its address', async (family, host) => {
    const listener = newSocket(family);
    expect(addon.bindIp(listener, family, host, 0)).toBe(0);
    expect(addon.listen(listener, 8)).toBe(0);
    const { listening, local, peer } = describeSocket(listener);
    expect({ listening, local, peer }).toEqual({
      listening: true,
      local: { host, port: expect.any(Number), scopeId: 0 },
      peer: undefined,
    });
    const client = dial(portOf(local), host);
    await new Promise((resolve) => client.once('connect', resolve));
    client.destroy();
  });

  test('two can share a port with SO_REUSEPORT, otherwise -EADDRINUSE', () => {
    const [first, second, third] = [newSocket(AF_INET), newSocket(AF_INET), newSocket(AF_INET)];
    for (const fd of [first, second]) expect(addon.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, int(1))).toBe(0);
    expect(addon.bindIp(first, AF_INET, '127.0.0.1', 0)).toBe(0);
    const port = portOf(describeSocket(first).local);
    expect(addon.bindIp(second, AF_INET, '127.0.0.1', port)).toBe(0);
    expect(addon.bindIp(third, AF_INET, '127.0.0.1', port)).toBe(failed('EADDRINUSE'));
  });

  test.each([
    ['localhost', 0, 'EINVAL'],
    ['', 0, 'EINVAL'],
    ['127.0.0.1\0', 0, 'EINVAL'],
    ['::1', 0, 'EINVAL'],
    ['127.0.0.1', -1, 'EINVAL'],
    ['127.0.0.1', 65536, 'EINVAL'],
    ['192.0.2.1', 0, 'EADDRNOTAVAIL'],
  ] as const)('IPv4 %j port %i is -%s', (host, port, code) => {
    expect(addon.bindIp(newSocket(AF_INET), AF_INET, host, port)).toBe(failed(code));
  });

  test('a scope is an interface, by name or number; -ENODEV for one that is not there', () => {
    const link = Object.entries(networkInterfaces())
      .flatMap(([name, addresses = []]) => addresses.map((address) => ({ name, address })))
      .find(({ address }) => address.address.startsWith('fe80:'));
    if (link?.address.family === 'IPv6') {
      const { address, scopeid } = link.address;
      for (const scope of [link.name, scopeid]) {
        const fd = newSocket(AF_INET6);
        expect(addon.bindIp(fd, AF_INET6, `${address}%${scope}`, 0)).toBe(0);
        expect(describeSocket(fd).local).toMatchObject({ host: address, scopeId: scopeid });
      }
    }
    const fd = newSocket(AF_INET6);
    for (const scope of ['nosuch0', '', '0']) {
      expect(addon.bindIp(fd, AF_INET6, `fe80::1%${scope}`, 0)).toBe(failed('ENODEV'));
    }
    expect(addon.bindIp(fd, AF_INET6, '%lo', 0)).toBe(failed('EINVAL'));
  });

  test('another family is -EAFNOSUPPORT; a closed descriptor -EBADF; a datagram socket does not listen', () => {
    expect(addon.bindIp(newSocket(AF_UNIX), AF_UNIX, '127.0.0.1', 0)).toBe(failed('EAFNOSUPPORT'));
    expect(addon.bindIp(CLOSED, AF_INET, '127.0.0.1', 0)).toBe(failed('EBADF'));
    expect(addon.listen(CLOSED, 1)).toBe(failed('EBADF'));
    expect(addon.listen(newSocket(AF_INET, SOCK_DGRAM), 1)).toBe(failed('EOPNOTSUPP'));
  });
});

describe('bindUnix and connectUnix', () => {
  function meet(path: Uint8Array): { listener: number; client: number } {
    const [listener, client] = [newSocket(AF_UNIX), newSocket(AF_UNIX)];
    expect(addon.bindUnix(listener, path)).toBe(0);
    expect(addon.listen(listener, 1)).toBe(0);
    expect(addon.connectUnix(client, path)).toBe(0);
    return { listener, client };
  }

  test('a path, in bytes that need not be UTF-8', () => {
    const folder = temporaryFolder();
    const path = Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0xff, 0xfe)]);
    const { listener, client } = meet(path);
    expect(existsSync(path)).toBe(true);
    expect(describeSocket(listener)).toMatchObject({ listening: true, local: { path } });
    expect(describeSocket(client)).toMatchObject({ local: { path: Buffer.alloc(0) }, peer: { path } });
  });

  test.runIf(onLinux)('an abstract name has exactly its length: no NUL is added, those inside count', () => {
    const path = Buffer.from(`\0handover\0${process.pid}`);
    const { listener, client } = meet(path);
    expect(describeSocket(listener).local).toEqual({ path });
    expect(describeSocket(client).peer).toEqual({ path });
    const shown = `@handover@${process.pid}`;
    expect(
      readFileSync('/proc/net/unix', 'latin1')
        .split('\n')
        .some((line) => line.endsWith(` ${shown}`)),
    ).toBe(true);
  });

  test('too long is -ENAMETOOLONG: 107 bytes are a path on Linux, 108 an abstract name', () => {
    const fd = newSocket(AF_UNIX);
    const limit = onLinux ? 108 : 104;
    expect(addon.bindUnix(fd, Buffer.alloc(limit, 'x'))).toBe(failed('ENAMETOOLONG'));
    expect(addon.connectUnix(fd, Buffer.alloc(limit, 'x'))).toBe(failed('ENAMETOOLONG'));
    expect(addon.connectUnix(fd, Buffer.alloc(limit - 1, 'x'))).toBe(failed('ENOENT'));
    const abstract = Buffer.alloc(limit + 1, 'x').fill(0, 0, 1);
    expect(addon.bindUnix(fd, abstract)).toBe(failed('ENAMETOOLONG'));
    if (onLinux) {
      expect(addon.bindUnix(fd, abstract.subarray(0, limit))).toBe(0);
      expect(describeSocket(fd).local).toEqual({ path: abstract.subarray(0, limit) });
    }
  });

  test('an empty path, a NUL in a path: -EINVAL', () => {
    const fd = newSocket(AF_UNIX);
    for (const path of ['', '/tmp/a\0b']) {
      expect(addon.bindUnix(fd, Buffer.from(path))).toBe(failed('EINVAL'));
      expect(addon.connectUnix(fd, Buffer.from(path))).toBe(failed('EINVAL'));
    }
  });

  test('taken is -EADDRINUSE; nobody there -ENOENT; nobody listening -ECONNREFUSED', () => {
    const path = Buffer.from(join(temporaryFolder(), 'socket'));
    expect(addon.connectUnix(newSocket(AF_UNIX), path)).toBe(failed('ENOENT'));
    expect(addon.bindUnix(newSocket(AF_UNIX), path)).toBe(0);
    expect(addon.bindUnix(newSocket(AF_UNIX), path)).toBe(failed('EADDRINUSE'));
    expect(addon.connectUnix(newSocket(AF_UNIX), path)).toBe(failed('ECONNREFUSED'));
  });
});

describe('options', () => {
  test('what is set is read back', () => {
    const fd = newSocket(AF_INET6);
    expect(addon.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, int(1))).toBe(0);
    const out = Buffer.alloc(16);
    expect(addon.getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, out)).toBe(4);
    expect(out.readInt32LE()).toBe(1);
  });

  test('refusals', () => {
    const fd = newSocket(AF_INET);
    expect(addon.setsockopt(fd, SOL_SOCKET, 9999, int(1))).toBe(failed('ENOPROTOOPT'));
    expect(addon.getsockopt(fd, SOL_SOCKET, 9999, Buffer.alloc(4))).toBe(failed('ENOPROTOOPT'));
    expect(addon.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, Buffer.alloc(0))).toBe(failed('EINVAL'));
    expect(addon.setsockopt(CLOSED, SOL_SOCKET, SO_REUSEADDR, int(1))).toBe(failed('EBADF'));
    expect(addon.getsockopt(CLOSED, SOL_SOCKET, SO_REUSEADDR, Buffer.alloc(4))).toBe(failed('EBADF'));
  });
});

describe('describe', () => {
  test('tells what fstat tells', () => {
    const [a] = pair();
    const { mode, dev, ino } = fstatSync(a, { bigint: true });
    expect(describeFd(a)).toMatchObject({ mode: Number(mode), dev, ino });
  });

  test('a file has no socket', () => {
    expect(describeFd(own(addon.sealedBlob('blob', Buffer.from('x')))).socket).toBeUndefined();
  });

  test('copies have the same cookie, sockets different ones', () => {
    const [a, b] = pair();
    const copy = own(addon.dupMin(a, 0));
    const [first, second, third] = [a, copy, b].map((fd) => describeSocket(fd).cookie);
    if (addon.flavor === 'portable') {
      expect([first, second, third]).toEqual([undefined, undefined, undefined]);
    } else {
      expect(first).toEqual(expect.any(BigInt));
      expect(second).toBe(first);
      expect(third).not.toBe(first);
    }
  });

  test('a closed descriptor is -EBADF', () => {
    expect(addon.describe(CLOSED)).toBe(failed('EBADF'));
  });
});

describe('who is at the other end', () => {
  const self = [process.pid, process.getuid?.(), process.getgid?.()];

  test('peerCredentials tells pid, uid, gid', () => {
    const out = new Int32Array(3);
    expect(addon.peerCredentials(pair()[0], out)).toBe(0);
    expect([...out]).toEqual(self);
  });

  test('refusals', () => {
    expect(addon.peerCredentials(newSocket(AF_UNIX), new Int32Array(3))).toBe(failed('ENOTCONN'));
    expect(addon.peerCredentials(CLOSED, new Int32Array(3))).toBe(failed('EBADF'));
    expect(addon.peerCredentials(pair()[0], new Int32Array(2))).toBe(failed('EINVAL'));
  });

  test.runIf(hasPython && onLinux)(
    'K10: the peer of an inherited listener is who called listen(), even when dead',
    () => {
      const path = join(temporaryFolder(), 'socket');
      const [listener, client] = [newSocket(AF_UNIX), newSocket(AF_UNIX)];
      expect(addon.bindUnix(listener, Buffer.from(path))).toBe(0);
      const listenerPid = python('socket.socket(fileno=3).listen(1); print(os.getpid())', [listener]) as number;
      expect(addon.connectUnix(client, Buffer.from(path))).toBe(0);
      const out = new Int32Array(3);
      expect(addon.peerCredentials(client, out)).toBe(0);
      expect(out[0]).toBe(listenerPid);
      expect(() => process.kill(listenerPid, 0)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    },
  );

  test('K10: SO_PEERPIDFD is a close-on-exec descriptor for the peer', () => {
    const result = addon.peerPidfd(pair()[0]);
    if (addon.flavor === 'portable') {
      expect(result).toBe(failed('ENOSYS'));
    } else if (result !== failed('ENOPROTOOPT')) {
      const pidfd = own(result);
      expect(addon.getCloexec(pidfd)).toBe(1);
      expect(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'utf8')).toContain(`\nPid:\t${process.pid}\n`);
    }
  });

  test.runIf(addon.flavor === 'linux')('peerPidfd without a peer', () => {
    expect([failed('ENODATA'), failed('ENOPROTOOPT')]).toContain(addon.peerPidfd(newSocket(AF_UNIX)));
    expect(addon.peerPidfd(CLOSED)).toBe(failed('EBADF'));
  });
});

describe('listeners that are passed on', () => {
  function listenAt(family = AF_INET): number {
    const fd = newSocket(family);
    expect(addon.bindIp(fd, family, '127.0.0.1', 0)).toBe(0);
    expect(addon.listen(fd, 8)).toBe(0);
    return fd;
  }

  test.runIf(hasPython && onLinux)('K7: shutdown() of one copy ends the listener for all', () => {
    const listener = listenAt();
    python('socket.socket(fileno=3).shutdown(socket.SHUT_RDWR)', [listener]);
    expect(describeSocket(listener).listening).toBe(false);
  });

  test('K7: closing one copy does not', () => {
    const listener = listenAt();
    close(own(addon.dupMin(listener, 0)));
    expect(describeSocket(listener).listening).toBe(true);
  });

  test('K9: one that exists only in an unread message still accepts into its backlog', async () => {
    const [a, b] = pair();
    const listener = listenAt();
    const port = portOf(describeSocket(listener).local);
    send(a, 'x', [listener]);
    close(listener);
    const client = dial(port, '127.0.0.1');
    await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
    const [copy] = receive(b).fds;
    expect(describeSocket(copy as number).listening).toBe(true);
    client.destroy();
  });
});
