// What the tests of the addon share: descriptors that end with their test, errnos, and Python for what Node cannot do
// (a raw sendmsg, shutdown(2) of a listener). Python is there wherever node-gyp compiles.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import { native, RECEIVED } from '../../lib/fd/native.js';

export { temporaryFolder } from '../helpers/folders.js';

export const addon = native();
export const { AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET } = addon.constants;
const locate = createRequire(import.meta.url)('node-gyp-build') as { path(root: string): string };
/** The file behind {@link addon}, for programs and workers that load it themselves. */
export const addonFile = resolve(locate.path(fileURLToPath(new URL('../..', import.meta.url))));
export const NO_FDS = new Int32Array(0);
export const onLinux = process.platform === 'linux';

/** The result of a call that failed: `-errno`. */
export function failed(name: keyof typeof constants.errno): number {
  return -constants.errno[name];
}

const owned = new Set<number>();

/** The test owns this descriptor from now on: closed when it ends, or by {@link close}. */
export function own(fd: number): number {
  expect(fd).toBeGreaterThanOrEqual(0);
  owned.add(fd);
  onTestFinished(() => {
    if (owned.delete(fd)) addon.close(fd);
  });
  return fd;
}

export function close(fd: number): void {
  owned.delete(fd);
  expect(addon.close(fd)).toBe(0);
}

export function pair(type = SOCK_STREAM): [number, number] {
  const out = new Int32Array(2);
  expect(addon.socketpair(type, out)).toBe(0);
  return [own(out[0] as number), own(out[1] as number)];
}

export function send(socket: number, text: string, fds: readonly number[] = [], credentials = false): number {
  return addon.sendmsg(socket, Buffer.from(text), Int32Array.from(fds), fds.length, credentials);
}

export interface Received {
  readonly result: number;
  readonly text: string;
  readonly fds: number[];
  readonly credentials: { readonly pid: number; readonly uid: number; readonly gid: number } | undefined;
}

/** One `recvmsg`; what it brings belongs to the test. */
export function receive(socket: number, size = 64): Received {
  const into = Buffer.alloc(size);
  const received = new Int32Array(RECEIVED.fds + 253);
  const result = addon.recvmsg(socket, into, received);
  const at = (index: number): number => received[index] as number;
  const fds = [...received.subarray(RECEIVED.fds, RECEIVED.fds + at(RECEIVED.count))];
  for (const fd of fds) own(fd);
  const credentials = { pid: at(RECEIVED.pid), uid: at(RECEIVED.uid), gid: at(RECEIVED.gid) };
  return {
    result,
    text: into.toString('utf8', 0, Math.max(result, 0)),
    fds,
    credentials: at(RECEIVED.hasCredentials) === 1 ? credentials : undefined,
  };
}
export const hasPython = spawnSync('python3', ['--version']).status === 0;

/** Runs a program with `fds` as 3, 4, … and returns the JSON it printed. */
export function python(program: string, fds: readonly number[] = []): unknown {
  const source = `import array, json, os, select, socket\nfrom socket import SOL_SOCKET, SCM_RIGHTS\n${program}`;
  const child = spawnSync('python3', ['-c', source], {
    stdio: ['ignore', 'pipe', 'pipe', ...fds],
    encoding: 'utf8',
  });
  expect(child.stderr).toBe('');
  expect(child.status).toBe(0);
  return child.stdout === '' ? undefined : JSON.parse(child.stdout);
}
