// The list of descriptors as frames: cut so that each frame stays within the limits of the wire.
import type { Channel } from './channel.js';
import { MAX_FRAME_FDS, type ManifestEntry } from './frames.js';

/** Entries and their descriptors, index by index. */
export interface DescriptorList {
  readonly entries: readonly ManifestEntry[];
  readonly fds: Int32Array;
  /** Closes what was made for this list alone: call it once the list is sent, or will not be. */
  readonly release?: () => void;
}

/** What a successor gets before COMMIT beside the ledger. */
export interface Wanted {
  /** It shares this process' stdio. */
  readonly stderr: boolean;
  /** Both will accept before COMMIT, and a client may come to one with what the other gave it. */
  readonly tickets: boolean;
  /** It abides by the arbiter. */
  readonly arbiter: boolean;
}

/** Sends a list as MANIFEST or COMMIT frames, at least one. The descriptors are borrowed. */
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

/** What is in `list` and was not among the `known` entries. A name whose entry was replaced is in it anew. */
export function without({ entries, fds }: DescriptorList, known: ReadonlySet<ManifestEntry>): DescriptorList {
  const kept = entries.map((entry, i) => ({ entry, fd: fds[i] ?? -1 })).filter(({ entry }) => !known.has(entry));
  return { entries: kept.map(({ entry }) => entry), fds: Int32Array.from(kept, ({ fd }) => fd) };
}

/** Without what is nobody else's business. */
function toWire({ name, kind, address, file, isOptional }: ManifestEntry): ManifestEntry {
  return { name, kind, address, ...(file !== undefined && { file }), ...(isOptional && { isOptional }) };
}
