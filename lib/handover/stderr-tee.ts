// What the successor writes to stderr before it is ready: passed on as it comes, and its end kept for the error message.
import type { Readable } from 'node:stream';

const TAIL_BYTES = 8_192;
const TAIL_LINES = 20;

export class StderrTee {
  readonly #stream: Readable;
  #tail: Buffer = Buffer.alloc(0);

  constructor(stream: Readable, write: (bytes: Uint8Array) => void) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      write(chunk);
      this.#tail = Buffer.concat([this.#tail, chunk]).subarray(-TAIL_BYTES);
    });
    // The pipe only ends: an error on it is the same to us, and the process' exit says more.
    stream.on('error', () => {});
  }

  /** The last lines so far. */
  get tail(): string {
    return this.#tail.toString('utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  }

  /** Resolves when the pipe has ended: what the process wrote is here then. */
  async ended(): Promise<void> {
    if (this.#stream.readableEnded || this.#stream.destroyed) return;
    await new Promise<void>((resolve) => this.#stream.once('close', resolve));
  }
}
