// State that the app hands over beside its listeners: named bytes in sealed memory, and any descriptor.
import { fstatSync, readSync } from 'node:fs';
import { HandoverError, toError, typeError } from '../errors.js';
import { expectFd } from '../fd/arguments.js';
import { closeFds, dupFd, sealedBlob } from '../fd/index.js';
import type { ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList } from '../protocol/manifest.js';
import { type Ledger, RESERVED } from './ledger.js';

/** Bytes, or a JSON value: a string, a boolean, null, an array or a plain object. No number: keep it in an object. */
export type KeptValue = Uint8Array | string | boolean | null | object;

/** The value; or a function asked for it at COMMIT, when nothing changes it any more. */
export type Keepable = KeptValue | (() => KeptValue | Promise<KeptValue>);

/** A value that the predecessor handed over under a name. */
export interface Inherited {
  /** Borrowed: the next generation gets it, too. Sealed against writing where it holds bytes. */
  readonly fd: number;
  /** The content, copied. */
  bytes(): Buffer;
  /** The JSON value that was kept. @throws SyntaxError the content is no JSON */
  json(): unknown;
}

export class Kept {
  readonly #ledger: Ledger;
  #collected: number[] = [];
  readonly #atCommit = new Map<string, () => KeptValue | Promise<KeptValue>>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Keeps a value under a name, in place of an earlier one. */
  keep(name: string, value: Keepable): void {
    expectName(name);
    if (typeof value === 'function') {
      this.#atCommit.set(name, value as () => KeptValue | Promise<KeptValue>);
      return;
    }
    const bytes = toBytes(value);
    this.#atCommit.delete(name);
    this.#ledger.keep(name, 'blob', sealedBlob(name, bytes));
  }

  /** Puts a duplicate of a descriptor under a name, in place of what was there. */
  keepFd(name: string, fd: number): void {
    expectName(name);
    expectFd('fd', fd);
    this.#atCommit.delete(name);
    this.#ledger.keep(name, 'descriptor', dupFd(fd));
  }

  /** Calls the kept functions. Their bytes are for this one handover: `release()` closes them. */
  async collect(): Promise<DescriptorList> {
    this.release();
    const entries: ManifestEntry[] = [];
    for (const [name, read] of this.#atCommit) {
      this.#collected.push(sealedBlob(name, await this.#read(name, read)));
      entries.push({ name, kind: 'blob', address: '' });
    }
    return { entries, fds: Int32Array.from(this.#collected) };
  }

  async #read(name: string, read: () => KeptValue | Promise<KeptValue>): Promise<Uint8Array> {
    try {
      return toBytes(await read());
    } catch (cause) {
      const message = `the function kept as "${name}" failed: ${toError(cause).message}`;
      throw new HandoverError('ERR_HANDOVER_ABORTED', message, { cause, phase: 'COMMIT', stillServing: true });
    }
  }

  /** Closes the collected descriptors: they were sent, or will not be. */
  release(): void {
    closeFds(this.#collected.splice(0));
  }

  inherited(name: string): Inherited | undefined {
    const entry = this.#ledger.claim(name);
    const bytes = (): Buffer => readAll(entry?.fd as number);
    return entry && { fd: entry.fd, bytes, json: () => JSON.parse(bytes().toString('utf8')) as unknown };
  }

  /** Reads a value of the library's own, which the next generation does not get. */
  take(name: string): Buffer | undefined {
    const bytes = this.inherited(name)?.bytes();
    this.#ledger.release(name);
    return bytes;
  }
}

function expectName(name: unknown): void {
  if (typeof name !== 'string' || name === '' || name.startsWith(RESERVED)) {
    throw typeError('name', `a non-empty string that does not begin with ${RESERVED}`, name);
  }
}

/** JSON has a form for more than this, and loses it: a Map becomes `{}`, and so does a promise. */
function toBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const isPlain = typeof value === 'string' || typeof value === 'boolean' || value === null || isPlainObject(value);
  if (!isPlain)
    throw typeError('value', 'bytes, a JSON value that is no number, or a function that returns one', value);
  return Buffer.from(JSON.stringify(value));
}

function isPlainObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The most that one read(2) returns. */
const MAX_READ_BYTES = 0x7ffff000;

/** Reads from the beginning: other processes move the shared offset. */
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
