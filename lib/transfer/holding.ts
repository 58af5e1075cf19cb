// The successor's side of migrating live connections, for every protocol: it holds offered connections, untouched, until GO
// gives them or ABORT takes them back.

import { HandoverError } from '../errors.js';
import { closeFds } from '../fd/index.js';
import { type Held, type Offer, type OfferedConnection, VERDICT, type Verdict } from '../protocol/batches.js';
import type { Adopter, HeldConnection, Hold, Migrator } from '../protocols/protocol.js';

/** The connections held; 'asking' while the app has not decided about all of the batch. */
type Batch = readonly HeldConnection[] | 'asking';

export class Holding {
  readonly #adopterOf: (listener: string) => Adopter | undefined;
  readonly #batches = new Map<number, Batch>();
  #isPredecessorDead = false;
  #onEmpty: (() => void) | undefined;
  /** Connections adopted. */
  adopted = 0;

  constructor(adopterOf: (listener: string) => Adopter | undefined) {
    this.#adopterOf = adopterOf;
  }

  /**
   * Owns the descriptors of an offer; closes and refuses the connections that this process cannot serve. Calls `answer` with
   * the verdicts: at once where the app need not be asked, never for a batch that was taken back meanwhile.
   * @throws ERR_HANDOVER_PROTOCOL the batch is held already, or has another number of descriptors
   */
  hold({ batch, connections }: Offer, fds: Int32Array, answer: (held: Held) => void): void {
    if (connections.length !== fds.length || this.#batches.has(batch)) {
      closeFds(fds);
      const message = `OFFER ${batch} of ${connections.length} connections came with ${fds.length} descriptors`;
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', message, { stillServing: true });
    }
    this.#batches.set(batch, 'asking');
    const adopters = connections.map(({ listener }) => this.#adopterOf(listener));
    const holds = connections.map((connection, i) =>
      take(adopters[i]?.(connection.protocol), fds[i] as number, connection),
    );
    const settle = (settled: readonly Hold[]): void => {
      const verdicts = settled.map((hold, i) => verdictOf(hold, adopters[i], connections[i]?.protocol ?? ''));
      if (
        this.#keep(
          batch,
          settled.filter((hold) => hold !== undefined),
        )
      )
        answer({ batch, verdicts });
    };
    if (holds.some((hold) => hold instanceof Promise)) void Promise.all(holds).then(settle);
    else settle(holds as Hold[]);
  }

  /** Refuses an offer whose descriptors did not fit into the table of this process: the predecessor keeps it for now. */
  refuse({ batch, connections }: Offer, answer: (held: Held) => void): void {
    this.#batches.set(batch, []);
    answer({ batch, verdicts: connections.map(() => VERDICT.noRoom) });
  }

  /** Adopts the batch: the predecessor has given it. @throws ERR_HANDOVER_PROTOCOL it is not held */
  go(batch: number): void {
    const held = this.#batches.get(batch);
    if (!held || held === 'asking') {
      throw new HandoverError('ERR_HANDOVER_PROTOCOL', `GO ${batch} names no batch that is held`, {
        stillServing: true,
      });
    }
    this.#forget(batch);
    this.#adopt(held);
  }

  /** The predecessor takes the batch back. */
  abort(batch: number): void {
    const held = this.#batches.get(batch);
    this.#forget(batch);
    if (held && held !== 'asking') for (const connection of held) connection.abort();
  }

  /** Adopts all batches, because the predecessor is dead. Resolves when the app has decided about all of them. */
  goAll(): Promise<void> {
    this.#isPredecessorDead = true;
    for (const [batch, held] of this.#batches) if (held !== 'asking') this.go(batch);
    return this.#empty();
  }

  /** The predecessor takes everything back. */
  abortAll(): void {
    for (const batch of [...this.#batches.keys()]) this.abort(batch);
  }

  /**
   * Resolves when every batch whose verdicts were sent has got its GO or ABORT: the predecessor reads the verdicts before it
   * reads that this process leaves. The predecessor takes batches without verdicts back by itself.
   */
  settled(): Promise<void> {
    for (const [batch, held] of this.#batches) if (held === 'asking') this.abort(batch);
    return this.#empty();
  }

  async #empty(): Promise<void> {
    if (this.#batches.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  /** False: the predecessor does not wait for the verdicts any more. */
  #keep(batch: number, held: readonly HeldConnection[]): boolean {
    if (!this.#batches.has(batch)) {
      for (const connection of held) connection.abort();
      return false;
    }
    if (this.#isPredecessorDead) {
      this.#forget(batch);
      this.#adopt(held);
      return false;
    }
    this.#batches.set(batch, held);
    return true;
  }

  #adopt(held: readonly HeldConnection[]): void {
    for (const connection of held) connection.go();
    this.adopted += held.length;
  }

  #forget(batch: number): void {
    this.#batches.delete(batch);
    if (this.#batches.size === 0) this.#onEmpty?.();
  }
}

function take(protocol: Migrator | undefined, fd: number, connection: OfferedConnection): Hold | Promise<Hold> {
  if (protocol) return protocol.hold(fd, connection);
  closeFds([fd]);
  return undefined;
}

function verdictOf(hold: Hold, adopter: Adopter | undefined, protocol: string): Verdict {
  if (hold) return VERDICT.held;
  if (!adopter) return VERDICT.unknownListener;
  return adopter(protocol) ? VERDICT.refused : VERDICT.unknownProtocol;
}
