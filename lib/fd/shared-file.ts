// A file in memory that processes pass to each other and lock by bytes. The lock is the open file description's, so the
// kernel releases it when the process ends in any way; the lock of a stopped process stays (fcntl(2), F_OFD_SETLK).
import { readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { systemError } from '../errors.js';
import { describeFd } from './describe.js';
import { native } from './native.js';

const { EAGAIN, EACCES } = constants.errno;

/** The kernel's part of an arbiter; tests have one without a kernel. */
export interface LockedFile {
  /** Takes every byte from `start` on. False: another open file description has one of them. */
  tryLock(start: number): boolean;
  /** Gives back every byte from `start` on. */
  unlock(start: number): void;
}

export class SharedFile implements LockedFile {
  readonly #fd: number;

  /** Owns the descriptor; every copy of it has the same locks. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws ENOSYS the platform has none; EMFILE … as memfd_create(2) */
  static create(name: string): SharedFile {
    return new SharedFile(checked(native().sharedFile(name), 'memfd_create'));
  }

  /** Inode number, by which other processes that hold the file are found. */
  get inode(): string {
    return String(describeFd(this.#fd).inode);
  }

  /** A descriptor of the same file with an open file description, and so locks, of its own. It is the caller's. */
  reopen(): number {
    return checked(native().reopen(this.#fd), 'open');
  }

  tryLock(start: number): boolean {
    const result = native().lockRange(this.#fd, start, 0, true);
    if (result === -EAGAIN || result === -EACCES) return false;
    checked(result, 'fcntl');
    return true;
  }

  unlock(start: number): void {
    checked(native().lockRange(this.#fd, start, 0, false), 'fcntl');
  }

  /** The first `size` bytes, as far as they are there. */
  read(size: number): Buffer {
    const bytes = Buffer.alloc(size);
    return bytes.subarray(0, readSync(this.#fd, bytes, 0, size, 0));
  }

  /** From the beginning on. */
  write(bytes: Uint8Array): void {
    writeSync(this.#fd, bytes, 0, bytes.length, 0);
  }

  close(): void {
    native().close(this.#fd);
  }
}

function checked(result: number, syscall: string): number {
  if (result < 0) throw systemError(result, syscall);
  return result;
}
