// Sends a list of descriptors as MANIFEST or COMMIT frames, each within the limits of the wire format.
import type { Channel } from './channel.js';
import { MAX_FRAME_FDS, type ManifestEntry } from './frames.js';

/** Entries and their descriptors, index by index. */
export interface DescriptorList {
  readonly entries: readonly ManifestEntry[];
  readonly fds: Int32Array;
  /** Closes the descriptors that were made for this list alone. Call it when the list was sent, or will not be. */
  readonly release?: () => void;
}

/** Which entries a successor gets in the MANIFEST beside those of the ledger. */
export interface Wanted {
  /** This process' stderr, for a successor that shares its stdio. */
  readonly stderr: boolean;
  /** TLS ticket keys: both processes accept before COMMIT, and a client may come to one with a ticket of the other. */
  readonly tickets: boolean;
  /** The file of the arbiter, for a successor with the capability `arbiter`. */
  readonly arbiter: boolean;
}

/** Sends a list as MANIFEST or COMMIT frames, at least one. Borrows the descriptors until the promise resolves. */
export async function sendList(
  channel: Channel,
  name: 'MANIFEST' | 'COMMIT',
  { entries, fds }: DescriptorList,
  standby?: boolean,
): Promise<void> {
  const sends: Promise<void>[] = [];
  let from = 0;
  do {
    const to = Math.min(from + MAX_FRAME_FDS, entries.length);
    const payload = {
      entries: entries.slice(from, to).map(toWire),
      more: to < entries.length,
      ...(standby && { standby }),
    };
    sends.push(channel.send(name, payload, fds.subarray(from, to)));
    from = to;
  } while (from < entries.length);
  await Promise.all(sends);
}

/** The part of the list that is not among the `known` entries, compared by identity: an entry that replaced another is new. */
export function without({ entries, fds }: DescriptorList, known: ReadonlySet<ManifestEntry>): DescriptorList {
  const kept = entries.map((entry, i) => ({ entry, fd: fds[i] ?? -1 })).filter(({ entry }) => !known.has(entry));
  return { entries: kept.map(({ entry }) => entry), fds: Int32Array.from(kept, ({ fd }) => fd) };
}

/** Keeps the fields of the wire format: an entry of the ledger has more. */
function toWire({ name, kind, address, file, isOptional }: ManifestEntry): ManifestEntry {
  return { name, kind, address, ...(file !== undefined && { file }), ...(isOptional && { isOptional }) };
}
