// The arguments of Node's `listen` and `bind`: what each form means is what Node makes of it.
import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseBind, parseListen } from '../../lib/process/node-arguments.js';
import { expectNoLeaks } from '../helpers/leaks.js';

expectNoLeaks();

const callback = (): void => {};
const IPV4 = '127.0.0.1';

describe('listen', () => {
  it.each<[string, unknown[], object]>([
    ['nothing', [], { port: 0 }],
    ['a callback', [callback], { port: 0 }],
    ['null', [null], { port: 0 }],
    ['undefined and a callback', [undefined, callback], { port: 0 }],
    ['a port', [8080], { port: 8080 }],
    ['a port as text', ['8080'], { port: 8080 }],
    ['port, callback', [8080, callback], { port: 8080 }],
    ['port, host', [8080, IPV4], { port: 8080, host: IPV4 }],
    ['port, host, backlog', [8080, IPV4, 9], { port: 8080, host: IPV4, backlog: 9 }],
    ['port, host, backlog, callback', [8080, IPV4, 9, callback], { port: 8080, host: IPV4, backlog: 9 }],
    ['port, backlog', [8080, 9, callback], { port: 8080, backlog: 9 }],
    ['port, undefined, callback', [8080, undefined, callback], { port: 8080 }],
    ['an empty host', [8080, ''], { port: 8080 }],
    ['a path', ['/run/app.sock'], { path: '/run/app.sock' }],
    ['path, backlog', ['/run/app.sock', 9, callback], { path: '/run/app.sock', backlog: 9 }],
    ['an abstract name', ['\0app'], { abstract: 'app' }],
    ['options with a port', [{ port: 8080, host: IPV4, ipv6Only: true }], { port: 8080, host: IPV4, ipv6Only: true }],
    ['options with a port as text', [{ port: '8080' }, callback], { port: 8080 }],
    ['options with an undefined port', [{ port: undefined }], { port: 0 }],
    ['options, backlog', [{ port: 8080 }, 9], { port: 8080, backlog: 9 }],
    ['options with a backlog', [{ port: 8080, backlog: 9 }], { port: 8080, backlog: 9 }],
    ['exclusive, which is for node:cluster', [{ port: 8080, exclusive: true }], { port: 8080 }],
    ['options with reusePort', [{ port: 8080, reusePort: true }], { port: 8080, reusePort: true }],
    ['options with a path', [{ path: '/run/app.sock', backlog: 9 }], { path: '/run/app.sock', backlog: 9 }],
  ])('%s', (_, args, expected) => {
    const asked = parseListen(args);
    expect(asked?.options).toEqual(expected);
    expect(asked?.callback).toBe(args.includes(callback) ? callback : undefined);
  });

  it.each<[string, unknown[]]>([
    ['a descriptor', [{ fd: 3 }]],
    ['a server', [net.createServer()]],
    ['an object with a handle', [{ _handle: {} }]],
    ['a signal', [{ port: 8080, signal: AbortSignal.abort() }]],
    ['a port that is none', [70_000]],
    ['a fraction', [8080.5]],
    ['a negative port', [{ port: -1 }]],
    ['an empty text', ['']],
    ['a boolean', [true]],
    ['options of nothing', [{}]],
    ['a host that is none', [{ port: 8080, host: 1 }]],
  ])('is left to Node: %s', (_, args) => {
    expect(parseListen(args)).toBeUndefined();
  });

  it('readableAll and writableAll: others may connect, which takes the right to write, where Node lets them', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'handover-auto-'));
    for (const flags of [{ readableAll: true }, { writableAll: true }, { readableAll: true, writableAll: true }]) {
      const path = join(folder, 'socket');
      const server = net.createServer().listen({ path, ...flags });
      await once(server, 'listening');
      const { mode = 0, ...options } = parseListen([{ path, ...flags }])?.options ?? {};
      // From Node 22 on it takes away all other bits.
      expect([options, mode & 0o022]).toEqual([{ path }, statSync(path).mode & 0o022]);
      server.close();
      await once(server, 'close');
    }
    rmSync(folder, { recursive: true });
  });
});

describe('bind', () => {
  it.each<[string, unknown[], object]>([
    ['a port', [5353], { port: 5353 }],
    ['port, address, callback', [5353, IPV4, callback], { port: 5353, host: IPV4 }],
    ['port, callback', [5353, callback], { port: 5353 }],
    ['options', [{ port: 5353, address: IPV4 }, callback], { port: 5353, host: IPV4 }],
  ])('%s', (_, args, expected) => {
    const asked = parseBind(args);
    expect(asked?.options).toEqual(expected);
    expect(asked?.callback).toBe(args.includes(callback) ? callback : undefined);
  });

  it.each<[string, unknown[]]>([
    ['what Node does itself for a socket that sends', [{ port: 0, exclusive: true }, null]],
    ['any port', []],
    ['port 0', [0, IPV4]],
    ['exclusive', [{ port: 5353, exclusive: true }]],
    ['a descriptor', [{ fd: 3 }]],
    ['a port that is none', [70_000]],
  ])('is left to Node: %s', (_, args) => {
    expect(parseBind(args)).toBeUndefined();
  });

  it('a socket of Node is no object of options', () => {
    const socket = dgram.createSocket('udp4');
    expect(parseBind([Object.assign(socket, { recvStart() {} })])).toBeUndefined();
    socket.close();
  });
});
