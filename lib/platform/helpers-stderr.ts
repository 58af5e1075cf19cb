// A helper, which is a process that a successor starts while it loads, inherits a pipe as its stderr, which the predecessor
// reads. A helper that outlives the predecessor would die of EPIPE (FACTS P1). So each generation hands the reading end on, and
// the oldest generation that lives reads it.
import { randomUUID } from 'node:crypto';
import { dupFd } from '../fd/index.js';
import type { ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList } from '../protocol/manifest.js';
import { type Ledger, RESERVED } from '../resources/ledger.js';
import { type Stderr, StderrTee } from './stderr-tee.js';

const HELPERS_STDERR = `${RESERVED}helpers-stderr:`;

/** Adds the pipe of the successor's own helpers to a list. The pipes of older generations are entries of the ledger already. */
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

  /** Claims the inherited pipes, so that the next generation gets them, too. */
  claim(entries: readonly ManifestEntry[]): void {
    for (const { name } of entries) {
      if (name.startsWith(HELPERS_STDERR) && this.#ledger.claim(name)) this.#names.add(name);
    }
  }

  /** Reads the pipes, because the predecessor is gone. Closes each when its last writer has. */
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
