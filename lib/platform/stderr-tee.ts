// Copies the stderr of a successor to this process' stderr: its own until it is ready, and that of its children for as long as
// they hold the pipe. Keeps the last lines for the error message.
import { Socket } from 'node:net';

const TAIL_BYTES = 8_192;
const TAIL_LINES = 20;

/** The stderr of this process, as {@link Env} has it. */
export interface Stderr {
  writeStderr(bytes: Uint8Array): boolean;
  stderrRoom(): Promise<void>;
}

export class StderrTee {
  readonly #fd: number;
  readonly #stream: Socket;
  #tail: Buffer = Buffer.alloc(0);

  /** Owns the descriptor. */
  constructor(fd: number, { writeStderr, stderrRoom }: Stderr) {
    this.#fd = fd;
    this.#stream = new Socket({ fd, readable: true, writable: false });
    this.#stream.on('data', (chunk: Buffer) => {
      this.#tail = Buffer.concat([this.#tail, chunk]).subarray(-TAIL_BYTES);
      if (writeStderr(chunk)) return;
      // This stops reading, so the writer waits for the reader of this process' stderr, as it would without this copy.
      this.#stream.pause();
      void stderrRoom().then(() => this.#stream.resume());
    });
    // An error on the pipe is treated as its end. The exit of the successor says more.
    this.#stream.on('error', () => {});
  }

  /** The reading end, borrowed, to be handed on; undefined where the pipe has ended: no process has its writing end. */
  get fd(): number | undefined {
    return this.#hasEnded ? undefined : this.#fd;
  }

  /** The last 20 lines so far, of at most the last 8 KiB. */
  get tail(): string {
    return this.#tail.toString('utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  }

  /** Resolves when the pipe has ended, and everything was read. */
  async ended(): Promise<void> {
    if (this.#hasEnded) return;
    await new Promise<void>((resolve) => this.#stream.once('close', resolve));
  }

  /** Lets this process end although the pipe is open. */
  unref(): void {
    this.#stream.unref();
  }

  get #hasEnded(): boolean {
    return this.#stream.readableEnded || this.#stream.destroyed;
  }
}
