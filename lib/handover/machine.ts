// The state machines of both sides, as tables: what may happen in which state, and what state follows. Nothing here
// acts; predecessor.ts and successor.ts act on the transitions.
import { HandoverError } from '../errors.js';
import type { Phase } from '../events.js';
import { Deferred } from '../protocol/deferred.js';

/** Who caused an event: an illegal one is the peer's fault or a bug of ours. */
type Origin = 'peer' | 'own';

type Table<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

/** The frames, their end (`EOF`: the peer closed or died), and what this side decides (lower case). */
export type PredecessorEvent =
  | 'HELLO'
  | 'CLAIMED'
  | 'READY'
  | 'HEARTBEAT'
  | 'COMMITTED'
  | 'HELD'
  | 'ABORT'
  /** ABORT of a successor in charge that was told to end: nothing is taken back. */
  | 'LEFT'
  | 'EOF'
  | 'watch'
  | 'commit'
  | 'migrated'
  | 'drained'
  | 'abort'
  /** What the arbiter says of the charge that was handed over. */
  | 'obtained'
  | 'refused';

export type PredecessorState =
  /** Started or dialled in by the successor, which has not said HELLO. */
  | 'starting'
  /** The MANIFEST is on its way; the app of the successor loads. */
  | 'offered'
  | 'claimed'
  /** The successor could serve. */
  | 'ready'
  /** Both accept; the successor is watched. */
  | 'probation'
  /** COMMIT is on its way: this process accepts no more. */
  | 'committing'
  | 'migrating'
  | 'draining'
  /** Drains, and the successor has left on purpose. */
  | 'last'
  | 'retired'
  /** Given up after COMMIT: the charge is taken back, if nobody else has it. */
  | 'recalling'
  /** Given up, and another generation is in charge: drains, and ends. */
  | 'relieved'
  /** Given up; this process serves. */
  | 'ended';

const GIVE_UP = { ABORT: 'ended', EOF: 'ended', abort: 'ended' } as const;
const RECALL = { ABORT: 'recalling', EOF: 'recalling', abort: 'recalling' } as const;

/** Whatever is still read of a successor that was given up. */
function late<S extends PredecessorState>(state: S): Record<Late, S> {
  const names: readonly Late[] = [
    'HELLO',
    'HEARTBEAT',
    'CLAIMED',
    'READY',
    'COMMITTED',
    'HELD',
    'LEFT',
    'ABORT',
    'EOF',
    'abort',
  ];
  return Object.fromEntries(names.map((name) => [name, state])) as Record<Late, S>;
}
type Late = 'HELLO' | 'HEARTBEAT' | 'CLAIMED' | 'READY' | 'COMMITTED' | 'HELD' | 'LEFT' | 'ABORT' | 'EOF' | 'abort';

export const PREDECESSOR: Table<PredecessorState, PredecessorEvent> = {
  starting: { ...GIVE_UP, HELLO: 'offered' },
  offered: { ...GIVE_UP, CLAIMED: 'claimed', HEARTBEAT: 'offered' },
  claimed: { ...GIVE_UP, READY: 'ready', HEARTBEAT: 'claimed' },
  ready: { ...GIVE_UP, HEARTBEAT: 'ready', watch: 'probation', commit: 'committing' },
  probation: { ...GIVE_UP, HEARTBEAT: 'probation', commit: 'committing' },
  committing: { ...RECALL, HEARTBEAT: 'committing', COMMITTED: 'migrating' },
  migrating: { ...RECALL, HEARTBEAT: 'migrating', HELD: 'migrating', migrated: 'draining', LEFT: 'last' },
  draining: { ...RECALL, HEARTBEAT: 'draining', HELD: 'draining', LEFT: 'last', drained: 'retired' },
  last: { migrated: 'last', EOF: 'last', abort: 'last', drained: 'retired' },
  // The stream ends after RETIRE, and what the successor said before it read that may still arrive. It may also have
  // ended before that was sent: then the charge is taken back after all.
  retired: {
    HEARTBEAT: 'retired',
    LEFT: 'retired',
    EOF: 'retired',
    ABORT: 'retired',
    abort: 'retired',
    obtained: 'ended',
    refused: 'relieved',
  },
  recalling: { ...late('recalling'), obtained: 'ended', refused: 'relieved' },
  relieved: late('relieved'),
  ended: late('ended'),
};

export const PREDECESSOR_PHASE: Readonly<Record<PredecessorState, Phase | undefined>> = {
  starting: 'PREPARE',
  offered: 'PREPARE',
  claimed: 'PREPARE',
  ready: 'PREPARE',
  probation: 'PROBATION',
  committing: 'COMMIT',
  migrating: 'MIGRATE',
  draining: 'DRAIN',
  last: 'DRAIN',
  retired: 'RETIRE',
  recalling: undefined,
  relieved: undefined,
  ended: undefined,
};

export type SuccessorEvent =
  | 'HELLO'
  | 'MANIFEST'
  /** A MANIFEST or COMMIT that another one continues. */
  | 'MORE'
  | 'COMMIT'
  | 'OFFER'
  | 'GO'
  | 'HEARTBEAT'
  | 'ABORT'
  | 'RETIRE'
  | 'EOF'
  | 'ready'
  | 'committed'
  | 'abort'
  /** The arbiter gives the charge to this process. */
  | 'obtained';

export type SuccessorState =
  | 'greeting'
  /** Descriptors arrive. */
  | 'receiving'
  /** The app loads and claims. */
  | 'loading'
  | 'ready'
  | 'committing'
  /** In charge; the predecessor drains. */
  | 'serving'
  /** The predecessor died before COMMIT: an older generation may take the charge back, or this process gets it. */
  | 'bereft'
  /** In charge, and the predecessor is gone: retired, or dead. */
  | 'alone'
  /** Given up: the predecessor serves. */
  | 'ended';

export const SUCCESSOR: Table<SuccessorState, SuccessorEvent> = {
  greeting: { HELLO: 'receiving', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  receiving: { MORE: 'receiving', MANIFEST: 'loading', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  // From here on this process holds all descriptors: a predecessor that dies leaves it in charge, or an older generation.
  loading: { ready: 'ready', ABORT: 'ended', EOF: 'bereft', abort: 'ended' },
  ready: { MORE: 'ready', COMMIT: 'committing', ABORT: 'ended', EOF: 'bereft', abort: 'ended' },
  bereft: { ready: 'bereft', EOF: 'bereft', obtained: 'alone', abort: 'ended' },
  committing: { HEARTBEAT: 'committing', committed: 'serving', ABORT: 'ended', EOF: 'alone', abort: 'ended' },
  serving: {
    HEARTBEAT: 'serving',
    OFFER: 'serving',
    GO: 'serving',
    ABORT: 'ended',
    RETIRE: 'alone',
    EOF: 'alone',
    abort: 'ended',
  },
  alone: { ready: 'alone', committed: 'alone', EOF: 'alone', abort: 'alone' },
  ended: {
    MORE: 'ended',
    MANIFEST: 'ended',
    COMMIT: 'ended',
    HEARTBEAT: 'ended',
    OFFER: 'ended',
    GO: 'ended',
    ABORT: 'ended',
    RETIRE: 'ended',
    committed: 'ended',
    EOF: 'ended',
    abort: 'ended',
  },
};

/** One side's state, and the only place that changes it. */
export class Machine<State extends string, Event extends string> {
  readonly #table: Table<State, Event>;
  readonly #onEnter: (state: State, from: State) => void;
  readonly #entered = new Map<State, Deferred<void>>();
  #state: State;

  constructor(table: Table<State, Event>, initial: State, onEnter: (state: State, from: State) => void) {
    this.#table = table;
    this.#state = initial;
    this.#onEnter = onEnter;
  }

  get state(): State {
    return this.#state;
  }

  /** Resolves when the state is entered, or at once if it has been. */
  reached(state: State): Promise<void> {
    return this.#deferredFor(state).promise;
  }

  /** Something came from the peer. @throws ERR_HANDOVER_PROTOCOL it may not come now */
  peer(event: Event): State {
    return this.#step(event, 'peer');
  }

  /** This side decided something. @throws ERR_HANDOVER_INTERNAL a bug: it may not be decided now */
  own(event: Event): State {
    return this.#step(event, 'own');
  }

  #step(event: Event, origin: Origin): State {
    const from = this.#state;
    const to = this.#table[from][event];
    if (to === undefined) {
      const code = origin === 'peer' ? 'ERR_HANDOVER_PROTOCOL' : 'ERR_HANDOVER_INTERNAL';
      const who = origin === 'peer' ? 'the other process sent' : 'this process decided';
      throw new HandoverError(code, `${who} ${event} while ${from}`, { stillServing: true });
    }
    this.#state = to;
    if (to !== from) {
      this.#onEnter(to, from);
      this.#deferredFor(to).resolve();
    }
    return to;
  }

  #deferredFor(state: State): Deferred<void> {
    const deferred = this.#entered.get(state) ?? new Deferred<void>();
    this.#entered.set(state, deferred);
    return deferred;
  }
}
