// A client of which every byte counts: one connection for ever, whose end is told in a word.

import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

const DEADLINE = 10_000;

export class ByteClient {
  readonly socket: Socket;
  /** Connections made: one, for ever. */
  connects = 0;
  #end: string | undefined;
  #changed: () => void = () => {};

  constructor(target: NetConnectOpts, received: (bytes: Buffer) => void) {
    this.socket = connect({ noDelay: true, allowHalfOpen: true, ...target });
    this.socket.on('connect', () => this.connects++);
    this.socket.on('data', (bytes) => {
      received(bytes);
      this.#changed();
    });
    this.socket.on('end', () => this.#finish('closed'));
    this.socket.on('error', (error: NodeJS.ErrnoException) => this.#finish(error.code ?? error.message));
    this.socket.on('close', () => this.#finish('closed'));
    onTestFinished(() => this.close());
  }

  /** How the server ended the connection; undefined while it is open. */
  get end(): string | undefined {
    return this.#end;
  }

  close(): void {
    this.socket.destroy();
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(bytes);
    return this;
  }

  /** Waits for the server to end the connection. */
  async ended(): Promise<string> {
    while (this.#end === undefined) await this.#change();
    return this.#end;
  }

  /** The first thing found, looked for whenever something has come. @throws Error the connection ended, or nothing came in 10 s */
  protected async until<T>(look: () => T | undefined, progress: () => string): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#end !== undefined) throw new Error(`${this.#end} after ${progress()}`);
      await this.#change();
    }
  }

  async #change(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#changed = resolve;
      timer = setTimeout(() => reject(new Error(`nothing came in ${DEADLINE} ms`)), DEADLINE);
    }).finally(() => clearTimeout(timer));
  }

  #finish(reason: string): void {
    this.#end ??= reason;
    this.#changed();
  }
}
