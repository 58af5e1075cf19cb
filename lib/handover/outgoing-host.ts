// What a handover asks of the process that gives.
import type { Hello, ManifestEntry } from '../protocol/frames.js';
import type { DescriptorList, Wanted } from '../protocol/manifest.js';

/** What the handover does in and for the process it runs in. */
export interface OutgoingHost {
  readonly hello: Hello;
  /** What a successor needs to load; the descriptors are borrowed. */
  list(wanted: Wanted): DescriptorList;
  /**
   * Gives up being in charge: stops accepting, but where the successor does not: on listeners that are not among the claimed,
   * and are optional or were opened after all was offered. Resolves with everything that is handed over, state included.
   */
  stepDown(claimed: readonly string[], offered: ReadonlySet<ManifestEntry>): Promise<DescriptorList>;
  /** Whether this process may undo it: no other than this successor has taken charge since. Waits until that is decided. */
  mayTakeBack(successor: Hello | undefined): Promise<boolean>;
  /** Undoes it. */
  takeBack(): Promise<void>;
  /** The successor left on purpose, and nobody listens any more: clients are to be refused, not kept waiting. */
  letGo(): void;
}
