// What the app hands over beside its listeners: named bytes in sealed memory, and any descriptor.
import { fstatSync, readSync } from 'node:fs';
import { HandoverError, toError, typeError } from '../errors.js';
import { closeFds, dupFd, sealedBlob } from '../fd/index.js';
import type { ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList } from '../protocol/manifest.js';
import { type Ledger, RESERVED } from './ledger.js';

/** Bytes; a descriptor, which stays yours; or a function asked for bytes at COMMIT, when nothing changes them any more. */
export type Keepable = Uint8Array | number | (() => Uint8Array | Promise<Uint8Array>);

/** What came under a name. */
export interface Inherited {
  /** Borrowed: it is handed on to the next generation, too. Sealed against writing where it holds bytes. */
  readonly fd: number;
  /** The content, copied. */
  bytes(): Buffer;
}

export class Kept {
  readonly #ledger: Ledger;
  #collected: number[] = [];
  readonly #atCommit = new Map<string, () => Uint8Array | Promise<Uint8Array>>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Puts a value under a name, in place of the one before. */
  keep(name: string, value: Keepable): void {
    if (typeof name !== 'string' || name === '' || name.startsWith(RESERVED)) {
      throw typeError('name', `a non-empty string that does not begin with ${RESERVED}`, name);
    }
    this.#atCommit.delete(name);
    if (typeof value === 'function') this.#atCommit.set(name, value);
    else if (typeof value === 'number') this.#ledger.keep(name, 'descriptor', dupFd(value));
    else if (value instanceof Uint8Array) this.#ledger.keep(name, 'blob', sealedBlob(name, value));
    else throw typeError('value', 'bytes, a descriptor, or a function that returns bytes', value);
  }

  /** Asks the functions. What they say is for this one handover: `release()` closes it. */
  async collect(): Promise<DescriptorList> {
    this.release();
    const entries: ManifestEntry[] = [];
    for (const [name, read] of this.#atCommit) {
      this.#collected.push(sealedBlob(name, await this.#read(name, read)));
      entries.push({ name, kind: 'blob', address: '' });
    }
    return { entries, fds: Int32Array.from(this.#collected) };
  }

  async #read(name: string, read: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array> {
    try {
      return await read();
    } catch (cause) {
      const message = `the function kept as "${name}" failed: ${toError(cause).message}`;
      throw new HandoverError('ERR_HANDOVER_ABORTED', message, { cause, phase: 'COMMIT' });
    }
  }

  /** Closes what was collected: it has been sent, or will not be. */
  release(): void {
    closeFds(this.#collected.splice(0));
  }

  inherited(name: string): Inherited | undefined {
    const entry = this.#ledger.claim(name);
    return entry && { fd: entry.fd, bytes: () => readAll(entry.fd) };
  }

  /** The content of what came under a name of the library, which is not handed on. */
  take(name: string): Buffer | undefined {
    const bytes = this.inherited(name)?.bytes();
    this.#ledger.release(name);
    return bytes;
  }
}

/** read(2) gives no more at a time. */
const MAX_READ_BYTES = 0x7ffff000;

/** From the beginning, whatever the shared offset is. */
function readAll(fd: number): Buffer {
  const bytes = Buffer.allocUnsafe(fstatSync(fd).size);
  let at = 0;
  while (at < bytes.length) {
    const read = readSync(fd, bytes, at, Math.min(bytes.length - at, MAX_READ_BYTES), at);
    if (read === 0) break;
    at += read;
  }
  return bytes.subarray(0, at);
}
