// A client of a line protocol of which every byte counts: lines that come, and bytes that are left over.

import type { NetConnectOpts } from 'node:net';
import { ByteClient } from './byte-client.js';

export class LineClient extends ByteClient {
  /** Joined when a line ends: a long one is not copied for each of its pieces. */
  #parts: string[] = [];
  #hasLine = false;

  constructor(target: NetConnectOpts) {
    super(target, (bytes) => {
      const text = bytes.toString('latin1');
      this.#parts.push(text);
      this.#hasLine ||= text.includes('\n');
    });
  }

  /** What came and was asked for by nobody. */
  get pending(): string {
    return this.#parts.join('');
  }

  override send(bytes: string | Uint8Array): this {
    return super.send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** The next line, without its end. @throws Error the connection ended, or nothing came in 10 s */
  async line(): Promise<string> {
    await this.until(
      () => this.#hasLine || undefined,
      () => JSON.stringify(this.pending),
    );
    const [line = '', ...rest] = this.pending.split('\n');
    this.#hasLine = rest.length > 1;
    this.#parts = [rest.join('\n')];
    return line;
  }

  async ask(line: string): Promise<string> {
    return this.send(`${line}\n`).line();
  }
}
