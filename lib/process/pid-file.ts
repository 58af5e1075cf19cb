// The pid file. The process in charge writes it, atomically; only the process that it names removes it.
import { readdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { HandoverError } from '../errors.js';
import { hasProcessEnded } from '../fd/pidfd.js';
import { expectSafe, readRegularFile, replaceFile } from '../fd/safe-files.js';

/**
 * Milliseconds after which a temporary file has no owner any more if no process has its pid. A process of another pid
 * namespace, whose pid this process does not see, renames its file at once.
 */
const TEMPORARY_TIME = 1_000;

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
    this.#removeLeftovers();
  }

  /** Removes it if it names this process. */
  remove(): void {
    try {
      if (Number(readRegularFile(this.#path)) === this.#pid) rmSync(this.#path, { force: true });
    } catch {
      // The file is gone, or its file system is read-only by now. A process that ends cannot do anything about it.
    }
    this.#removeLeftovers();
  }

  /** Removes the temporary files of processes that were killed before they could rename them. */
  #removeLeftovers(): void {
    const folder = dirname(this.#path);
    const prefix = `${basename(this.#path)}.`;
    try {
      for (const name of readdirSync(folder)) {
        const pid = name.startsWith(prefix) ? name.slice(prefix.length) : '';
        if (/^[1-9]\d*$/.test(pid) && isLeftover(join(folder, name), Number(pid))) rmSync(join(folder, name));
      }
    } catch {
      // The folder is gone, or cannot be read or written to. What is left in it harms nothing.
    }
  }
}

/** Whether this is the temporary file of an ended process, and not a file of the app that has such a name. */
function isLeftover(file: string, pid: number): boolean {
  if (!hasProcessEnded(pid)) return false;
  try {
    const text = readRegularFile(file);
    return (text === '' || text === `${pid}\n`) && Date.now() - statSync(file).mtimeMs > TEMPORARY_TIME;
  } catch {
    return false;
  }
}
