// A second process of the unit, which systemd can be told is the main process for a moment (service-manager.ts says why).
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setBlocking } from '../fd/dial.js';

/**
 * Sends each line of its stdin to the service manager as a message of its own, and confirms each on stdout. Ignores the signals
 * that systemd sends to a whole unit. Ends with its stdin, so at the latest when the process that started it ends.
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
    // The stand-in must not keep this process alive, and an error on its streams must not end this process.
    child.unref();
    for (const stream of [child.stdin, child.stdout] as [Writable, Readable]) {
      stream.on('error', () => {});
      (stream as unknown as { unref(): void }).unref();
    }
  }

  /**
   * Starts the process, which belongs to the unit when this returns. Borrows `notify`, a datagram socket connected to the
   * service manager, and makes it blocking. Undefined where the start failed; `onError` then gets the error.
   * @throws the system's error
   */
  static start(notify: number, onError: (error: Error) => void): StandIn | undefined {
    // The shell's printf cannot handle EAGAIN, so a blocking socket waits for room in the manager's queue.
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

  /** Sends a message. Resolves when the kernel has it. Rejects when the stand-in ends before. */
  async say(line: string): Promise<void> {
    const { stdin, stdout } = this.#child as { stdin: Writable; stdout: Readable };
    const said = new Promise<void>((resolve) => stdout.once('data', () => resolve()));
    stdin.write(`${line}\n`);
    await Promise.race([said, this.#ended]);
  }

  end(): void {
    this.#child.stdin?.destroy();
    // The shell may be blocked by a manager that does not read, and then does not see the end of its stdin.
    this.#child.kill('SIGKILL');
  }
}
