// The pid file: written by the one in charge, atomically, and removed only by the process it names.
import { rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { HandoverError } from '../errors.js';
import { expectSafe, readRegularFile, replaceFile } from '../fd/safe-files.js';

export class PidFile {
  readonly #path: string;
  readonly #pid: number;

  constructor(path: string, pid: number) {
    this.#path = resolve(path);
    this.#pid = pid;
  }

  /**
   * @throws ERR_HANDOVER_PID_FILE it cannot be written, or others can write to its directory; the file is then what it was
   */
  write(): void {
    try {
      expectSafe(dirname(this.#path));
      replaceFile(this.#path, `${this.#path}.${this.#pid}`, `${this.#pid}\n`);
    } catch (cause) {
      const message = `cannot write the pid file ${this.#path}: ${(cause as Error).message}`;
      throw new HandoverError('ERR_HANDOVER_PID_FILE', message, { cause, stillServing: false });
    }
  }

  /** Removes it if it names this process. */
  remove(): void {
    try {
      if (Number(readRegularFile(this.#path)) === this.#pid) rmSync(this.#path, { force: true });
    } catch {
      // Gone, or on a file system that went read-only: nothing of ours to mend at the end of a process.
    }
  }
}
