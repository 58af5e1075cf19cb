// The pid file: written by the one in charge, atomically, and removed only by the process it names.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { HandoverError } from '../errors.js';

export class PidFile {
  readonly #path: string;
  readonly #pid: number;

  constructor(path: string, pid: number) {
    this.#path = resolve(path);
    this.#pid = pid;
  }

  /** @throws ERR_HANDOVER_PID_FILE it cannot be written; the file is then what it was */
  write(): void {
    const temporary = `${this.#path}.${this.#pid}`;
    try {
      writeFileSync(temporary, `${this.#pid}\n`);
      renameSync(temporary, this.#path);
    } catch (cause) {
      rmSync(temporary, { force: true });
      const message = `cannot write the pid file ${this.#path}: ${(cause as Error).message}`;
      throw new HandoverError('ERR_HANDOVER_PID_FILE', message, { cause, stillServing: false });
    }
  }

  /** Removes it if it names this process. */
  remove(): void {
    try {
      if (Number(readFileSync(this.#path, 'utf8')) === this.#pid) rmSync(this.#path, { force: true });
    } catch {
      // Gone, or on a file system that went read-only: nothing of ours to mend at the end of a process.
    }
  }
}
