// bindListener: every kind of address, every option before bind(2), and failures that leave nothing.

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connectsTo } from '../../lib/fd/dial.js';
import {
  type BindListenerOptions,
  bindListener,
  describeFd,
  type RawSocketOption,
  type SocketDescription,
  type UnixListenerOptions,
} from '../../lib/fd/index.js';
import { native } from '../../lib/fd/native.js';
import { expectNoLeaks } from '../helpers/leaks.js';
import { close, errno, onLinux, own, rangeRefusal, temporaryFolder, thrownBy, typeRefusal } from './sandbox.js';

expectNoLeaks();

const isRoot = process.getuid?.() === 0;

function bind(options: BindListenerOptions): number {
  return own(bindListener(options));
}

function socketOf(fd: number): SocketDescription {
  return describeFd(fd).socket as SocketDescription;
}

function portOf(fd: number): number {
  return (socketOf(fd).local as AddressInfo).port;
}

/** Connects, and is closed again; rejects with the error of connect(2). */
async function connects(where: { port: number; host: string } | { path: string }): Promise<void> {
  const client: Socket = connect(where as { path: string });
  try {
    await once(client, 'connect');
  } finally {
    client.destroy();
  }
}

function optionOf(fd: number, level: number, name: number): number {
  const out = new Uint8Array(4);
  expect(native().getsockopt(fd, level, name, out)).toBe(4);
  return new Int32Array(out.buffer)[0] ?? -1;
}

describe('TCP', () => {
  test('a listener at an address: close-on-exec, non-blocking, listening, connectable', async () => {
    const fd = bind({ port: 0, host: '127.0.0.1' });
    expect(describeFd(fd)).toMatchObject({
      kind: 'socket',
      cloexec: true,
      nonblocking: true,
      socket: { family: 'ipv4', type: 'stream', listening: true, local: { address: '127.0.0.1' } },
    });
    await connects({ port: portOf(fd), host: '127.0.0.1' });
  });

  test('without a host it takes both families', async () => {
    const fd = bind({ port: 0 });
    expect(socketOf(fd).local).toMatchObject({ address: '::', family: 'IPv6' });
    await connects({ port: portOf(fd), host: '127.0.0.1' });
    await connects({ port: portOf(fd), host: '::1' });
  });

  test('ipv6Only refuses IPv4, and leaves that port to another', async () => {
    const fd = bind({ port: 0, host: '::', ipv6Only: true });
    const port = portOf(fd);
    await connects({ port, host: '::1' });
    await expect(connects({ port, host: '127.0.0.1' })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(portOf(bind({ port, host: '0.0.0.0' }))).toBe(port);
  });

  test('a Node server serves on it', async () => {
    const fd = bindListener({ port: 0, host: '127.0.0.1', backlog: 8 });
    const port = portOf(fd);
    const server = createServer((socket) => socket.end('served')).listen({ fd }, 8);
    onTestFinished(() => {
      server.close();
    });
    const client = connect(port, '127.0.0.1');
    const [text] = (await once(client, 'data')) as [Buffer];
    expect(text.toString()).toBe('served');
    client.destroy();
  });

  test('reusePort: a second one on the same port; without it EADDRINUSE, in the shape of Node', async () => {
    const fd = bind({ port: 0, host: '127.0.0.1', reusePort: true });
    const port = portOf(fd);
    expect(portOf(bind({ port, host: '127.0.0.1', reusePort: true }))).toBe(port);
    const ours = thrownBy(() => bindListener({ port, host: '127.0.0.1' }));
    expect(ours).toEqual({
      class: 'Error',
      message: `bind EADDRINUSE: address already in use 127.0.0.1:${port}`,
      errno: errno('EADDRINUSE'),
      code: 'EADDRINUSE',
      syscall: 'bind',
      address: '127.0.0.1',
      port,
    });
    const server = createServer().listen(port, '127.0.0.1');
    const [nodes] = (await once(server, 'error')) as [Error];
    expect({ ...nodes, syscall: 'bind' }).toMatchObject({ ...nodes, ...withoutText(ours) });
  });

  test('reuseAddr is on, and can be switched off', () => {
    const { SOL_SOCKET, SO_REUSEADDR } = native().constants;
    expect(optionOf(bind({ port: 0 }), SOL_SOCKET, SO_REUSEADDR)).not.toBe(0);
    expect(optionOf(bind({ port: 0, reuseAddr: false }), SOL_SOCKET, SO_REUSEADDR)).toBe(0);
  });

  test('an address that is not ours is EADDRNOTAVAIL', () => {
    expect(thrownBy(() => bindListener({ port: 0, host: '192.0.2.1' }))).toMatchObject({
      code: 'EADDRNOTAVAIL',
      syscall: 'bind',
      address: '192.0.2.1',
      port: 0,
    });
  });
});

describe('raw options', () => {
  const SOL_SOCKET = native().constants.SOL_SOCKET;
  const SO_RCVBUF = onLinux ? 8 : 0x1002;
  const IPPROTO_TCP = 6;
  const TCP_MAXSEG = 2;

  test.each([
    ['a number', 131_072],
    ['bytes', new Uint8Array(Int32Array.of(131_072).buffer)],
  ])('%s is set', (_, value) => {
    const fd = bind({ port: 0, socketOptions: [{ level: SOL_SOCKET, name: SO_RCVBUF, value }] });
    expect(optionOf(fd, SOL_SOCKET, SO_RCVBUF)).toBe(onLinux ? 262_144 : 131_072);
  });

  test('they are set before bind(2): reuse of a port, given raw, is in force when it binds', () => {
    const { SO_REUSEPORT } = native().constants;
    const socketOptions: RawSocketOption[] = [{ level: SOL_SOCKET, name: SO_REUSEPORT, value: 1 }];
    const port = portOf(bind({ port: 0, socketOptions }));
    expect(portOf(bind({ port, socketOptions }))).toBe(port);
  });

  test('they are set in order, and one that is refused names setsockopt and the address', () => {
    const socketOptions: RawSocketOption[] = [
      { level: SOL_SOCKET, name: SO_RCVBUF, value: 131_072 },
      { level: IPPROTO_TCP, name: TCP_MAXSEG, value: -1 },
    ];
    expect(thrownBy(() => bindListener({ port: 0, host: '127.0.0.1', socketOptions }))).toMatchObject({
      code: 'EINVAL',
      syscall: 'setsockopt',
      address: '127.0.0.1',
      port: 0,
    });
  });

  test('before a path is made: a refused option leaves no file', () => {
    const path = join(temporaryFolder(), 'x.sock');
    const socketOptions = [{ level: IPPROTO_TCP, name: TCP_MAXSEG, value: -1 }];
    expect(thrownBy(() => bindListener({ path, socketOptions }))).toMatchObject({ syscall: 'setsockopt', path });
    expect(existsSync(path)).toBe(false);
  });
});

describe('Unix', () => {
  test('a path, with its mode', async () => {
    const path = join(temporaryFolder(), 'x.sock');
    const fd = bind({ path, mode: 0o600 });
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    expect(socketOf(fd)).toMatchObject({ family: 'unix', listening: true, local: { path } });
    await connects({ path });
  });

  test('without a mode the umask decides', () => {
    const path = join(temporaryFolder(), 'x.sock');
    const umask = process.umask(0o027);
    onTestFinished(() => {
      process.umask(umask);
    });
    bind({ path });
    expect(statSync(path).mode & 0o777).toBe(0o750);
  });

  test.runIf(isRoot)('its owner, as root', () => {
    const path = join(temporaryFolder(), 'x.sock');
    bind({ path, uid: 12_345, gid: 23_456 });
    expect(statSync(path)).toMatchObject({ uid: 12_345, gid: 23_456 });
  });

  test('a mode wider than the umask leaves is there, too', () => {
    const path = join(temporaryFolder(), 'x.sock');
    const umask = process.umask(0o077);
    onTestFinished(() => {
      process.umask(umask);
    });
    bind({ path, mode: 0o666 });
    expect(statSync(path).mode & 0o777).toBe(0o666);
  });

  test.runIf(onLinux)('the file is made with its mode: nothing is changed by its path', async ({ skip }) => {
    skip(spawnSync('strace', ['-V']).error !== undefined, 'there is no strace');
    const folder = temporaryFolder();
    const trace = join(folder, 'trace');
    const program = fileURLToPath(new URL('fixtures/binds.mjs', import.meta.url));
    const args = ['-f', '-e', 'trace=bind,chmod,fchmod,fchmodat', '-o', trace, process.execPath, program];
    const ended = spawnSync('strace', [...args, join(folder, 'x.sock')], { encoding: 'utf8' });
    expect([ended.status, ended.stdout]).toEqual([0, '600\n']);
    const calls = readFileSync(trace, 'utf8').match(/\b(bind|f?chmod(at)?)\(.*(0600|x\.sock)/g) ?? [];
    expect(calls.map((call) => call.split('(')[0])).toEqual(['fchmod', 'bind']);
  });

  test('mode and owner only where nobody else can exchange the file', () => {
    const folder = temporaryFolder();
    const path = join(folder, 'x.sock');
    chmodSync(folder, 0o777);
    const options = [{ mode: 0o600 }, { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }];
    for (const option of options) {
      expect(thrownBy(() => bindListener({ path, ...option } as UnixListenerOptions))).toMatchObject({
        code: 'ERR_HANDOVER_UNSAFE_DIRECTORY',
        message: expect.stringContaining(`${folder} can be written to by other users`),
      });
      expect(existsSync(path)).toBe(false);
    }
    close(bind({ path }));
    rmSync(path);
    // As /tmp: others make files there, and remove none of ours.
    chmodSync(folder, 0o1777);
    bind({ path, mode: 0o600 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test.runIf(isRoot)('a failure after bind(2) leaves no file and no descriptor', () => {
    const folder = temporaryFolder();
    chmodSync(folder, 0o1777);
    const path = join(folder, 'x.sock');
    process.seteuid?.(65_534);
    let error: unknown;
    try {
      error = thrownBy(() => bindListener({ path, uid: 0, gid: 0 }));
    } finally {
      process.seteuid?.(0);
    }
    expect(error).toMatchObject({ code: 'EPERM', syscall: 'lchown', path });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('what is there is EADDRINUSE with the path, and stays, also a stale one', () => {
    const path = join(temporaryFolder(), 'x.sock');
    bind({ path });
    const { ino } = statSync(path);
    expect(thrownBy(() => bindListener({ path }))).toEqual({
      class: 'Error',
      message: `bind EADDRINUSE: address already in use ${path}`,
      errno: errno('EADDRINUSE'),
      code: 'EADDRINUSE',
      syscall: 'bind',
      path,
    });
    expect(statSync(path).ino).toBe(ino);
  });

  test('too long is ENAMETOOLONG, a folder that is not there ENOENT', () => {
    const path = join(temporaryFolder(), 'x'.repeat(120));
    expect(thrownBy(() => bindListener({ path }))).toMatchObject({ code: 'ENAMETOOLONG', syscall: 'bind', path });
    const lost = join(temporaryFolder(), 'no', 'x.sock');
    expect(thrownBy(() => bindListener({ path: lost }))).toMatchObject({ code: 'ENOENT', syscall: 'bind', path: lost });
  });

  test.runIf(onLinux)('an abstract name, gone with its last descriptor', () => {
    const abstract = `handover-test-${process.pid}`;
    const fd = bind({ abstract });
    expect(socketOf(fd).local).toEqual({ abstract });
    expect(thrownBy(() => bindListener({ abstract }))).toMatchObject({ code: 'EADDRINUSE', path: `\0${abstract}` });
    // Not by Node 20, whose connect() pads the name with NULs.
    expect(connectsTo(`\0${abstract}`)).toBe(0);
    close(fd);
    expect(connectsTo(`\0${abstract}`)).toBe(errno('ECONNREFUSED'));
    bind({ abstract });
  });
});

describe('UDP', () => {
  test('is bound, does not listen, and is not shared by accident', () => {
    const fd = bind({ protocol: 'udp', port: 0, host: '127.0.0.1' });
    expect(socketOf(fd)).toMatchObject({ type: 'dgram', listening: false, local: { address: '127.0.0.1' } });
    expect(thrownBy(() => bindListener({ protocol: 'udp', port: portOf(fd), host: '127.0.0.1' }))).toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'bind',
    });
  });

  test('is shared where both ask for it', () => {
    const port = portOf(bind({ protocol: 'udp', port: 0, host: '127.0.0.1', reusePort: true }));
    expect(portOf(bind({ protocol: 'udp', port, host: '127.0.0.1', reusePort: true }))).toBe(port);
  });
});

describe('bad options are refused before any system call', () => {
  const integer = (minimum: number, maximum = 2 ** 31 - 1): string => `an integer from ${minimum} to ${maximum}`;
  const path = '/nowhere/x.sock';
  const all = 'protocol, port, host, ipv6Only, reuseAddr, reusePort, backlog, socketOptions';

  test.each<[unknown, object]>([
    [undefined, typeRefusal('"options" must be an object. Received undefined')],
    [[], typeRefusal('"options" must be an object. Received []')],
    [{}, typeRefusal(`"options.port" must be ${integer(0, 65_535)}. Received undefined`)],
    [{ port: '80' }, typeRefusal(`"options.port" must be ${integer(0, 65_535)}. Received '80'`)],
    [{ port: 65_536 }, rangeRefusal(`"options.port" must be ${integer(0, 65_535)}. Received 65536`)],
    [{ port: -1 }, rangeRefusal(`"options.port" must be ${integer(0, 65_535)}. Received -1`)],
    [{ port: 0, backlog: -1 }, rangeRefusal(`"options.backlog" must be ${integer(0)}. Received -1`)],
    [{ port: 0, protocol: 'sctp' }, typeRefusal(`"options.protocol" must be one of tcp, udp. Received 'sctp'`)],
    [{ port: 0, ipv6Only: 1 }, typeRefusal('"options.ipv6Only" must be a boolean. Received 1')],
    [{ port: 0, reusePort: 'yes' }, typeRefusal(`"options.reusePort" must be a boolean. Received 'yes'`)],
    [
      { port: 0, host: 'localhost' },
      typeRefusal(`"options.host" must be an IP address (resolve names first). Received 'localhost'`),
    ],
    [{ port: 0, host: '' }, typeRefusal(`"options.host" must be a non-empty string. Received ''`)],
    [{ port: 0, mode: 0o600 }, typeRefusal(`"options.mode" must be absent; the options are ${all}. Received 'mode'`)],
    [{ port: 0, socketOptions: {} }, typeRefusal('"options.socketOptions" must be an array. Received {}')],
    [{ port: 0, socketOptions: [1] }, typeRefusal('"options.socketOptions[0]" must be an object. Received 1')],
    [
      { port: 0, socketOptions: [{ level: 1, name: 2 }] },
      typeRefusal('"options.socketOptions[0].value" must be a Buffer or Uint8Array. Received undefined'),
    ],
    [
      { port: 0, socketOptions: [{ level: 1, name: 2, value: Buffer.alloc(0) }] },
      rangeRefusal('"options.socketOptions[0].value.length" must be at least 1. Received 0'),
    ],
    [
      { port: 0, socketOptions: [{ level: -1, name: 2, value: 1 }] },
      rangeRefusal(`"options.socketOptions[0].level" must be ${integer(0)}. Received -1`),
    ],
    [{ path: '' }, typeRefusal(`"options.path" must be a non-empty string. Received ''`)],
    [
      { path: 'a\0b' },
      typeRefusal(`"options.path" must be a path without NUL (see options.abstract). Received 'a\\x00b'`),
    ],
    [{ path, mode: 0o1777 }, rangeRefusal(`"options.mode" must be ${integer(0, 0o777)}. Received 1023`)],
    [{ path, uid: 0 }, typeRefusal('"options.uid" must be given together with options.gid. Received 0')],
    [
      { path, port: 80 },
      typeRefusal(
        `"options.port" must be absent; the options are path, mode, uid, gid, backlog, socketOptions. Received 'port'`,
      ),
    ],
    [
      { abstract: 'x', path },
      typeRefusal(
        `"options.abstract" must be absent; the options are path, mode, uid, gid, backlog, socketOptions. Received 'abstract'`,
      ),
    ],
    [
      { abstract: 'x', mode: 0o600 },
      typeRefusal(`"options.mode" must be absent; the options are abstract, backlog, socketOptions. Received 'mode'`),
    ],
    [{ abstract: '' }, typeRefusal(`"options.abstract" must be a non-empty string. Received ''`)],
  ])('%o', (options, expected) => {
    expect(thrownBy(() => bindListener(options as BindListenerOptions))).toEqual(expected);
  });

  test('an unknown option is named', () => {
    expect(thrownBy(() => bindListener({ port: 0, prot: 80 } as never))).toMatchObject({
      class: 'TypeError',
      message: expect.stringMatching(/^"options.prot" must be absent; the options are .*port.*path.*abstract/),
    });
  });
});

/** Without what Node words otherwise. */
function withoutText({ class: _, message: __, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return { ...rest, syscall: 'bind' };
}
