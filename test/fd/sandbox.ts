// What the tests above the addon share: descriptors that end with their test, errors as plain objects, a full table.
import { constants } from 'node:os';
import { expect, onTestFinished } from 'vitest';
import { closeFd, closeFds, describeFd, dupFd, type Received, recvFds, socketpair } from '../../lib/fd/index.js';
import { tryReceive } from '../../lib/fd/messages.js';
import { native } from '../../lib/fd/native.js';

export { temporaryFolder } from '../helpers/folders.js';

export const onLinux = process.platform === 'linux';
/** With the portable file on Linux: what a Mac runs, without memfd and SO_COOKIE. */
export const hasLinuxFloor: boolean = native().flavor === 'linux';
export const byte: Buffer = Buffer.from('x');
export const errno = (name: keyof typeof constants.errno): number => -constants.errno[name];

const owned = new Set<number>();

/** The test owns this descriptor from now on: closed when it ends, or by {@link close}. */
export function own(fd: number): number {
  owned.add(fd);
  onTestFinished(() => {
    if (owned.delete(fd)) closeFd(fd);
  });
  return fd;
}

export function ownAll(fds: Iterable<number>): number[] {
  return [...fds].map(own);
}

/** It is somebody else's now. */
export function disown(fd: number): number {
  owned.delete(fd);
  return fd;
}

export function close(fd: number): void {
  owned.delete(fd);
  closeFd(fd);
}

export function pair(type?: 'stream' | 'dgram' | 'seqpacket'): [number, number] {
  const [a, b] = socketpair(type);
  return [own(a), own(b)];
}

/** A number that was a descriptor a moment ago. */
export function closedFd(): number {
  const fd = dupFd(2, 200);
  closeFd(fd);
  return fd;
}

/** One reception; what it brings belongs to the test. */
export function receive(socket: number): Received {
  const received = recvFds(socket);
  ownAll(received.fds);
  return received;
}

/** Whether every copy of the other end of this socket has been closed. */
export function isAtEnd(socket: number): boolean {
  const received = tryReceive(socket);
  return typeof received === 'object' && received.bytes.length === 0;
}

export const inode = (fd: number): bigint => describeFd(fd).inode;

/** An error as a test compares it: its class, its message and every field. */
export function plain(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { notAnError: error };
  return { ...error, class: error.constructor.name, message: error.message };
}

export function thrownBy(call: () => unknown): Record<string, unknown> {
  try {
    return { returned: call() };
  } catch (error) {
    return plain(error);
  }
}

export async function rejectionOf(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    return { resolved: await promise };
  } catch (error) {
    return plain(error);
  }
}

/** What `typeError` makes. */
export function typeRefusal(message: string): object {
  return { class: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message };
}

/** What `rangeError` makes. */
export function rangeRefusal(message: string): object {
  return { class: 'RangeError', code: 'ERR_OUT_OF_RANGE', message };
}

/** What `systemError` makes. */
export function refusal(
  code: keyof typeof constants.errno,
  syscall: string,
  details: { fd?: number; address?: string; port?: number; path?: string } = {},
): object {
  return {
    class: 'Error',
    message: expect.stringMatching(`^${syscall} ${code}: `),
    errno: errno(code),
    code,
    syscall,
    ...details,
  };
}

/** Leaves room for `room` more descriptors in this process until the function it returns is called. */
export function fillTable(room: number): () => void {
  const fillers: number[] = [];
  try {
    for (;;) fillers.push(dupFd(2));
  } catch (error) {
    if ((error as { code?: string }).code !== 'EMFILE') throw error;
  }
  closeFds(fillers.splice(0, room));
  return () => closeFds(fillers.splice(0));
}
