// The pid file. The process in charge writes it, atomically; only the process that it names removes it.
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
   * @throws ERR_HANDOVER_PID_FILE the file cannot be written, or other users can write to its directory; the file is
   *    unchanged
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
      // The file is gone, or its file system is read-only by now. A process that ends cannot do anything about it.
    }
  }
}
