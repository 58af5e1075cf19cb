// A process that a successor starts while it loads inherits a pipe as its stderr, which the predecessor reads. It may outlive
// the predecessor, and would die of EPIPE: the reading end is handed on from generation to generation, and read by the
// oldest that is left.
import { randomUUID } from 'node:crypto';
import { dupFd } from '../fd/index.js';
import type { ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList } from '../protocol/manifest.js';
import { type Ledger, RESERVED } from '../resources/ledger.js';
import { type Stderr, StderrTee } from './stderr-tee.js';

const HELPERS_STDERR = `${RESERVED}helpers-stderr:`;

/** A list with the pipe of the successor's own helpers; those of older generations are in it as entries of the ledger. */
export function withHelpersStderr(list: DescriptorList, fd: number | undefined): DescriptorList {
  if (fd === undefined) return list;
  const entry: ManifestEntry = { name: `${HELPERS_STDERR}${randomUUID()}`, kind: 'descriptor', address: '' };
  return { ...list, entries: [...list.entries, entry], fds: Int32Array.of(...list.fds, fd) };
}

export class HelpersStderr {
  readonly #ledger: Ledger;
  readonly #stderr: Stderr;
  readonly #names = new Set<string>();

  constructor(ledger: Ledger, stderr: Stderr) {
    this.#ledger = ledger;
    this.#stderr = stderr;
  }

  /** Takes them out of what was inherited: they are handed on, whoever reads them. */
  claim(entries: readonly ManifestEntry[]): void {
    for (const { name } of entries) {
      if (name.startsWith(HELPERS_STDERR) && this.#ledger.claim(name)) this.#names.add(name);
    }
  }

  /** The predecessor is gone. Each pipe is let go of when nobody writes to it any more. */
  read(): void {
    for (const name of this.#names) {
      const entry = this.#ledger.get(name);
      if (!entry) continue;
      const tee = new StderrTee(dupFd(entry.fd), this.#stderr);
      tee.unref();
      void tee.ended().then(() => this.#ledger.get(name) === entry && this.#ledger.release(name));
    }
    this.#names.clear();
  }
}
