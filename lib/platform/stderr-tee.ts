// What the successor writes to stderr before it is ready, and for ever what inherited that pipe from it: passed on as it
// comes, and its end kept for the error message.
import { Socket } from 'node:net';

const TAIL_BYTES = 8_192;
const TAIL_LINES = 20;

/** Where it goes: as of {@link Env}. */
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
      // Whoever writes waits for the reader, as it would without this process in between.
      this.#stream.pause();
      void stderrRoom().then(() => this.#stream.resume());
    });
    // The pipe only ends: an error on it is the same to us, and the process' exit says more.
    this.#stream.on('error', () => {});
  }

  /** To be handed on, borrowed; undefined where nobody has the other end any more. */
  get fd(): number | undefined {
    return this.#hasEnded ? undefined : this.#fd;
  }

  /** The last lines so far. */
  get tail(): string {
    return this.#tail.toString('utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  }

  /** Resolves when the pipe has ended: what the process wrote is here then. */
  async ended(): Promise<void> {
    if (this.#hasEnded) return;
    await new Promise<void>((resolve) => this.#stream.once('close', resolve));
  }

  /** It keeps this process alive no longer. */
  unref(): void {
    this.#stream.unref();
  }

  get #hasEnded(): boolean {
    return this.#stream.readableEnded || this.#stream.destroyed;
  }
}
