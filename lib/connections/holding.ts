// The successor's side of moving live connections, for every protocol: holds what is offered, untouched, until GO gives it
// or ABORT takes it back.
import { type Held, type Offer, type OfferedConnection, VERDICT, type Verdict } from '../channel/batches.js';
import { closeFds } from '../fd/index.js';

/** Where connections of one listener go. */
export interface Adopter {
  /** Protocols it can go on with. */
  readonly protocols: readonly string[];
  /** Takes the descriptor: it is the adopter's from here on. */
  adopt(fd: number, connection: OfferedConnection): void;
}

interface HeldConnection {
  readonly fd: number;
  readonly connection: OfferedConnection;
  readonly adopter: Adopter;
}

export class Holding {
  readonly #adopterOf: (listener: string) => Adopter | undefined;
  readonly #batches = new Map<number, readonly HeldConnection[]>();
  /** Connections adopted. */
  adopted = 0;

  constructor(adopterOf: (listener: string) => Adopter | undefined) {
    this.#adopterOf = adopterOf;
  }

  /** Takes the descriptors of an offer; those it cannot go on with are closed here and refused. */
  hold({ batch, connections }: Offer, fds: Int32Array): Held {
    if (connections.length !== fds.length || this.#batches.has(batch)) {
      closeFds(fds);
      throw new Error(`OFFER ${batch} of ${connections.length} connections came with ${fds.length} descriptors`);
    }
    const held: HeldConnection[] = [];
    const refused: number[] = [];
    const verdicts = connections.map((connection, i): Verdict => {
      const fd = fds[i] as number;
      const adopter = this.#adopterOf(connection.listener);
      if (adopter?.protocols.includes(connection.protocol)) {
        held.push({ fd, connection, adopter });
        return VERDICT.held;
      }
      refused.push(fd);
      return adopter ? VERDICT.unknownProtocol : VERDICT.unknownListener;
    });
    closeFds(refused);
    this.#batches.set(batch, held);
    return { batch, verdicts };
  }

  /** The batch is ours. @throws Error it is not held */
  go(batch: number): void {
    const held = this.#batches.get(batch);
    if (!held) throw new Error(`GO ${batch} names no batch that is held`);
    this.#batches.delete(batch);
    for (const { fd, connection, adopter } of held) adopter.adopt(fd, connection);
    this.adopted += held.length;
  }

  /** The predecessor takes the batch back. */
  abort(batch: number): void {
    closeFds((this.#batches.get(batch) ?? []).map(({ fd }) => fd));
    this.#batches.delete(batch);
  }

  /** The predecessor is dead: what it had offered is nobody else's. */
  goAll(): void {
    for (const batch of [...this.#batches.keys()]) this.go(batch);
  }

  /** The predecessor takes everything back. */
  abortAll(): void {
    for (const batch of [...this.#batches.keys()]) this.abort(batch);
  }
}
