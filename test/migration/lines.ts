// A client of a line protocol of which every byte counts: lines that come, bytes that are left over, and how it ended.
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

const DEADLINE = 10_000;

export class LineClient {
  readonly socket: Socket;
  /** Connections made: one, for ever. */
  connects = 0;
  /** Joined when a line ends: a long one is not copied for each of its pieces. */
  #parts: string[] = [];
  #hasLine = false;
  #end: string | undefined;
  #changed: () => void = () => {};

  constructor(target: NetConnectOpts) {
    this.socket = connect({ ...target, allowHalfOpen: true });
    this.socket.setNoDelay(true);
    this.socket.on('connect', () => this.connects++);
    this.socket.setEncoding('latin1').on('data', (text: string) => {
      this.#parts.push(text);
      this.#hasLine ||= text.includes('\n');
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

  /** What came and was asked for by nobody. */
  get pending(): string {
    return this.#parts.join('');
  }

  close(): void {
    this.socket.destroy();
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** The next line, without its end. @throws Error the connection ended, or nothing came in 10 s */
  async line(): Promise<string> {
    while (!this.#hasLine) {
      if (this.#end !== undefined) throw new Error(`${this.#end} after ${JSON.stringify(this.pending)}`);
      await this.#change();
    }
    const [line = '', ...rest] = this.pending.split('\n');
    this.#hasLine = rest.length > 1;
    this.#parts = [rest.join('\n')];
    return line;
  }

  async ask(line: string): Promise<string> {
    return this.send(`${line}\n`).line();
  }

  async ended(): Promise<string> {
    while (this.#end === undefined) await this.#change();
    return this.#end;
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
