// The state machines of both sides of a handover, as tables: the events that are legal in each state, and the next state.
// The tables have no side effects: outgoing.ts and incoming.ts act on the transitions.
import { HandoverError } from '../errors.js';
import type { Phase } from '../events.js';
import { Deferred } from '../protocol/deferred.js';

/** The cause of an event: an illegal one is the peer's fault (`peer`) or a bug of this package (`own`). */
type Origin = 'peer' | 'own';

type Table<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

/** Frames, the end of the channel (`EOF`: the peer closed it or died), and decisions of this side (lower case). */
export type PredecessorEvent =
  | 'HELLO'
  | 'CLAIMED'
  | 'READY'
  | 'HEARTBEAT'
  | 'COMMITTED'
  | 'HELD'
  | 'ABORT'
  /** ABORT of a successor in charge that was told to end: this process takes nothing back. */
  | 'LEFT'
  | 'EOF'
  | 'watch'
  | 'commit'
  | 'migrated'
  | 'drained'
  | 'abort'
  /** The arbiter's verdict on taking the charge back. */
  | 'obtained'
  | 'refused';

export type PredecessorState =
  /** The successor was started or has dialled in, and has not sent HELLO. */
  | 'starting'
  /** The MANIFEST is being sent; the successor's app loads. */
  | 'offered'
  | 'claimed'
  /** The successor sent READY. */
  | 'ready'
  /** Both accept; the successor is watched. */
  | 'probation'
  /** COMMIT is being sent: this process has stopped accepting. */
  | 'committing'
  | 'migrating'
  | 'draining'
  /** This process drains; the successor has ended on purpose. */
  | 'last'
  | 'retired'
  /** Given up after COMMIT: this process takes the charge back, unless another generation has it. */
  | 'recalling'
  /** Given up, and another generation is in charge: this process drains, and ends. */
  | 'relieved'
  /** Given up; this process serves. */
  | 'ended';

const GIVE_UP = { ABORT: 'ended', EOF: 'ended', abort: 'ended' } as const;
const RECALL = { ABORT: 'recalling', EOF: 'recalling', abort: 'recalling' } as const;

/** Frames of a given-up successor that are still read. */
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
  // The channel ends after RETIRE, and frames that the successor sent before it read RETIRE may still arrive. The successor
  // may also have ended before RETIRE was sent; this process then takes the charge back after all.
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
  /** A MANIFEST or COMMIT with `more`, which another one continues. */
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
  /** The descriptors of the MANIFEST arrive. */
  | 'receiving'
  /** The app loads and claims. */
  | 'loading'
  | 'ready'
  | 'committing'
  /** In charge; the predecessor drains. */
  | 'serving'
  /** The predecessor died before COMMIT: either an older generation or this process takes charge. */
  | 'bereft'
  /** In charge, and the predecessor has retired or died. */
  | 'alone'
  /** Given up: another process serves. */
  | 'ended';

export const SUCCESSOR: Table<SuccessorState, SuccessorEvent> = {
  greeting: { HELLO: 'receiving', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  receiving: { MORE: 'receiving', MANIFEST: 'loading', ABORT: 'ended', EOF: 'ended', abort: 'ended' },
  // From here on this process holds all descriptors: if the predecessor dies, this process or an older generation takes
  // charge.
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

/** Holds the state of one side, and alone changes it. */
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

  /** Steps by an event of the peer. @throws ERR_HANDOVER_PROTOCOL the event is not legal in this state */
  peer(event: Event): State {
    return this.#step(event, 'peer');
  }

  /** Steps by a decision of this side. @throws ERR_HANDOVER_INTERNAL a bug: the event is not legal in this state */
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
