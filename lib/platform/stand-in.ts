// A second process of the unit, for the moment in which systemd has to be told of another main process than this one.
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setBlocking } from '../fd/dial.js';

/**
 * Says each line it is given to the service manager as its own message, and then that it has. It outlives the signals that
 * systemd sends to a whole unit, and ends with its stdin: with the process that started it, at the latest.
 */
const SCRIPT = `trap '' TERM INT HUP; while read -r line; do printf %s "$line" >&3 && echo; done`;

export class StandIn {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;
  #hasEnded = false;

  private constructor(child: ChildProcess, pid: number) {
    this.pid = pid;
    this.#child = child;
    this.#ended = new Promise((_, reject) => {
      child.once('exit', () => {
        this.#hasEnded = true;
        reject(new Error('the process that stands in for the main one has ended'));
      });
    });
    this.#ended.catch(() => {});
    // Nothing of it keeps this process, and nothing of it can fail this process.
    child.unref();
    for (const stream of [child.stdin, child.stdout] as [Writable, Readable]) {
      stream.on('error', () => {});
      (stream as unknown as { unref(): void }).unref();
    }
  }

  /**
   * Starts it; when this returns it is a process of the unit. `notify`, a datagram socket connected to the service manager,
   * stays the caller's. @throws the system's error, later by `onError` where Node says it so
   */
  static start(notify: number, onError: (error: Error) => void): StandIn | undefined {
    // A shell waits for room in the manager's queue, and knows of no other way.
    setBlocking(notify);
    const child = spawn('/bin/sh', ['-c', SCRIPT], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore', notify],
    });
    child.once('error', onError);
    return child.pid === undefined ? undefined : new StandIn(child, child.pid);
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Resolves when the kernel has the message. Rejects when the process ends before. */
  async say(line: string): Promise<void> {
    const { stdin, stdout } = this.#child as { stdin: Writable; stdout: Readable };
    const said = new Promise<void>((resolve) => stdout.once('data', () => resolve()));
    stdin.write(`${line}\n`);
    await Promise.race([said, this.#ended]);
  }

  end(): void {
    this.#child.stdin?.destroy();
    // It may wait for a manager that does not read.
    this.#child.kill('SIGKILL');
  }
}
