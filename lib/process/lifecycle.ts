// The life of a process that can hand over, as a table: the events that are legal in each state, the next state, and the //
// effects. The table has no side effects: executor.ts runs them.

import { HandoverError } from '../errors.js';

export type LifeState =
  /** The app loads, and claims the listeners that were handed over. */
  | 'loading'
  /** This process accepts, or waits as a standby. Another process is in charge, or none is yet. */
  | 'ready'
  | 'takingCharge'
  /** In charge. */
  | 'serving'
  /** The handover is at COMMIT: this process stops accepting, and collects what it hands over. */
  | 'steppingDown'
  /** The successor failed before it was in charge: this process takes everything back. */
  | 'resuming'
  /** The successor is in charge. */
  | 'draining'
  /** As `draining`, but this process ends even if the successor fails. */
  | 'drainingToEnd'
  /** The successor failed after it was in charge: this process takes everything back. */
  | 'recalling'
  /** As `recalling`, but this process ends afterwards. */
  | 'recallingToEnd'
  /** RETIRE was sent: this process takes nothing back any more. */
  | 'retired'
  /** Ends without a successor. */
  | 'closing'
  /** Ends, because another process is in charge. */
  | 'withdrawing'
  | 'closed';

export type LifeEvent =
  /** The app is loaded and has claimed. The listeners accept, unless this process is a standby. */
  | 'ready'
  /** COMMIT came, or there is no predecessor, or it has ended. */
  | 'takeCharge'
  | 'tookCharge'
  /** This process failed to take charge. */
  | 'failed'
  /** The handover is at COMMIT. */
  | 'stepDown'
  /** The successor sent COMMITTED. */
  | 'superseded'
  /** The successor failed, and the arbiter gives the charge back to this process. */
  | 'takeBack'
  | 'takenBack'
  /** The successor failed, and another generation has taken charge. */
  | 'relieved'
  /** The successor ends on purpose. */
  | 'letGo'
  /** RETIRE was sent. */
  | 'retired'
  /** The predecessor has ended. */
  | 'alone'
  /** The app, a signal, an operator or the supervisor asks for the end. */
  | 'close'
  /** As `close`, by a supervisor that names workers to take the connections. Never once this process drains or ends. */
  | 'transfer'
  /** The predecessor aborted the handover and serves on, or may still serve when this process is told to end. */
  | 'withdraw'
  | 'ended';

export type Effect =
  | 'abandonRole'
  | 'abortClosing'
  | 'abortHandover'
  | 'accept'
  | 'adoptStderr'
  | 'answerProbes'
  | 'awaitServiceManager'
  | 'becomeAloneIfBereft'
  | 'closeArbiter'
  | 'closeLeavingPaths'
  | 'closeRemovingPaths'
  | 'closeUnclaimed'
  | 'closeUnclaimedListeners'
  | 'collect'
  | 'drain'
  | 'drainBesideSuccessor'
  | 'endRole'
  | 'endServices'
  | 'finishServers'
  | 'forgetOutcomes'
  | 'leavePredecessor'
  | 'leaveRole'
  | 'obtainArbiter'
  | 'publishInCharge'
  | 'publishInChargeAgain'
  | 'recordFailure'
  | 'refuseReady'
  | 'releaseReserve'
  | 'renewClosing'
  | 'resolveClosed'
  | 'resolveReady'
  | 'resume'
  | 'runHooks'
  | 'sign'
  | 'stayHere'
  | 'suspendAll'
  | 'suspendClaimed'
  | 'takeRole'
  | 'takeRoleAnyhow'
  | 'tellAlone'
  | 'tellClosing'
  | 'tellInCharge'
  | 'tellServesOn'
  | 'tellSuperseded'
  | 'tellWithdrawing'
  | 'yieldArbiter'
  | 'yieldRole';

export interface Transition {
  readonly to: LifeState;
  /** Run one after the other. When another event changes the state meanwhile, the rest is skipped. */
  readonly effects: readonly Effect[];
  /** The event that follows when all effects have run. */
  readonly next?: LifeEvent | undefined;
}

/** What holds for a process in a state. */
export interface Standing {
  /** The state as operators see it, without the internal steps. */
  readonly phase: 'loading' | 'ready' | 'serving' | 'draining' | 'closing' | 'closed';
  /** Whether the app and operators see this process as in charge. */
  readonly isInCharge: boolean;
  /** Whether the app may still change what this process does. */
  readonly isOpen: boolean;
  /** Whether a successor gets a listener that the app opens now. */
  readonly handsOver: boolean;
  /**
   * Whether this process would end as soon as it is in charge again, so that any other generation should take charge
   * instead.
   */
  readonly resigns: boolean;
}

type Table = Readonly<Record<LifeState, Readonly<Partial<Record<LifeEvent, Transition>>>>>;

function to(state: LifeState, effects: readonly Effect[] = [], next?: LifeEvent): Transition {
  return { to: state, effects, next };
}

/** The last steps of every process. */
const END: readonly Effect[] = [
  'leavePredecessor',
  'closeLeavingPaths',
  'releaseReserve',
  'finishServers',
  'runHooks',
  'leaveRole',
  'endServices',
];

const STOP: readonly Effect[] = ['abortClosing', 'refuseReady', 'abortHandover'];
const CLOSE_AND_DRAIN: readonly Effect[] = ['leavePredecessor', 'suspendAll', 'closeRemovingPaths', 'drain', ...END];

const CLOSE = to('closing', ['tellClosing', ...STOP, 'endRole', ...CLOSE_AND_DRAIN], 'ended');
/** The workers that get the connections also answer probes, so this process stops answering them at once. */
const TRANSFER = to('closing', ['tellClosing', ...STOP, 'yieldRole', ...CLOSE_AND_DRAIN], 'ended');
const WITHDRAW = to(
  'withdrawing',
  ['tellWithdrawing', ...STOP, 'abandonRole', 'leavePredecessor', 'suspendAll', 'closeLeavingPaths', 'drain', ...END],
  'ended',
);

const TAKE_CHARGE = to('takingCharge', ['obtainArbiter', 'accept', 'takeRole'], 'tookCharge');
const TOOK_CHARGE = to('serving', ['sign', 'resolveReady', 'tellInCharge', 'becomeAloneIfBereft', 'publishInCharge']);
const STEP_DOWN = to('steppingDown', [
  'forgetOutcomes',
  'yieldRole',
  'suspendClaimed',
  'releaseReserve',
  'collect',
  'yieldArbiter',
]);
const SUPERSEDED: readonly Effect[] = ['abortClosing', 'tellSuperseded', 'drainBesideSuccessor'];
const TAKE_BACK: readonly Effect[] = ['sign', 'resume', 'takeRoleAnyhow'];
/** A process that ends as soon as it is in charge again does not sign the arbiter for that moment. */
const TAKE_BACK_TO_END: readonly Effect[] = ['resume', 'takeRoleAnyhow'];
const RECALLED: readonly Effect[] = ['renewClosing', 'tellServesOn', 'recordFailure', 'publishInChargeAgain'];
const LET_GO: readonly Effect[] = ['stayHere', 'closeLeavingPaths'];
const RETIRED = to('retired', ['closeArbiter', 'awaitServiceManager', ...END], 'ended');
/** Without `answerProbes`: a process in charge answers probes already. */
const ALONE: readonly Effect[] = ['closeUnclaimed', 'tellAlone'];

/** Events that change nothing in a process that ends. */
function late(state: LifeState): Readonly<Partial<Record<LifeEvent, Transition>>> {
  return {
    alone: to(state),
    letGo: to(state),
    relieved: to(state),
    close: to(state),
    withdraw: to(state),
  };
}

export const LIFECYCLE: Table = {
  loading: {
    ready: to('ready', ['adoptStderr', 'closeUnclaimedListeners']),
    // No other process is left to answer probes.
    alone: to('loading', ['answerProbes']),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  ready: {
    takeCharge: TAKE_CHARGE,
    // The process takes charge next, and answers probes then.
    alone: to('ready'),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  takingCharge: {
    tookCharge: TOOK_CHARGE,
    failed: to('ready', ['suspendAll']),
    alone: to('takingCharge'),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  serving: {
    stepDown: STEP_DOWN,
    alone: to('serving', ALONE),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  steppingDown: {
    superseded: to('draining', SUPERSEDED),
    takeBack: to('resuming', TAKE_BACK, 'takenBack'),
    relieved: WITHDRAW,
    // The successor may end as soon as it is in charge, before this process has read COMMITTED.
    letGo: to('steppingDown', LET_GO),
    alone: to('steppingDown', ALONE),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  resuming: {
    takenBack: to('serving'),
    alone: to('resuming', ALONE),
    close: CLOSE,
    transfer: TRANSFER,
    withdraw: WITHDRAW,
  },
  draining: {
    takeBack: to('recalling', TAKE_BACK),
    relieved: WITHDRAW,
    letGo: to('draining', LET_GO),
    retired: RETIRED,
    alone: to('draining'),
    close: to('drainingToEnd'),
    // The successor is in charge, although the predecessor of this process takes itself for the one that serves.
    withdraw: to('drainingToEnd'),
  },
  drainingToEnd: {
    takeBack: to('recallingToEnd', TAKE_BACK_TO_END),
    relieved: WITHDRAW,
    letGo: to('drainingToEnd', LET_GO),
    retired: RETIRED,
    alone: to('drainingToEnd'),
    close: to('drainingToEnd'),
    withdraw: to('drainingToEnd'),
  },
  recalling: {
    takenBack: to('serving', RECALLED),
    alone: to('recalling'),
    close: to('recallingToEnd'),
    withdraw: WITHDRAW,
  },
  recallingToEnd: {
    takenBack: to('closing', [...RECALLED, ...CLOSE.effects], 'ended'),
    alone: to('recallingToEnd'),
    close: to('recallingToEnd'),
    withdraw: WITHDRAW,
  },
  retired: { ...late('retired'), ended: to('closed', ['resolveClosed']) },
  closing: {
    ...late('closing'),
    // The successor took charge before it read that the handover is aborted.
    superseded: to('drainingToEnd', SUPERSEDED),
    takeBack: to('closing', TAKE_BACK_TO_END),
    takenBack: to('closing', ['recordFailure']),
    ended: to('closed', ['resolveClosed']),
  },
  withdrawing: {
    ...late('withdrawing'),
    superseded: to('drainingToEnd', SUPERSEDED),
    takeBack: to('withdrawing', TAKE_BACK),
    takenBack: to('withdrawing', ['recordFailure']),
    ended: to('closed', ['resolveClosed']),
  },
  // A recall may finish after this process has closed.
  closed: { ...late('closed'), takenBack: to('closed', ['recordFailure']) },
};

const YOUNG = { isInCharge: false, isOpen: true, handsOver: true, resigns: false } as const;
const ENDS = { isInCharge: false, isOpen: false, handsOver: false, resigns: false } as const;

export const STANDING: Readonly<Record<LifeState, Standing>> = {
  loading: { ...YOUNG, phase: 'loading' },
  ready: { ...YOUNG, phase: 'ready' },
  takingCharge: { ...YOUNG, phase: 'ready' },
  serving: { ...YOUNG, phase: 'serving', isInCharge: true },
  steppingDown: { ...YOUNG, phase: 'serving', isInCharge: true, handsOver: false },
  resuming: { ...YOUNG, phase: 'serving', isInCharge: true },
  draining: { ...ENDS, phase: 'draining' },
  drainingToEnd: { ...ENDS, phase: 'draining', resigns: true },
  recalling: { ...ENDS, phase: 'draining' },
  recallingToEnd: { ...ENDS, phase: 'draining', resigns: true },
  retired: { ...ENDS, phase: 'draining' },
  closing: { ...ENDS, phase: 'closing', resigns: true },
  withdrawing: { ...ENDS, phase: 'closing' },
  closed: { ...ENDS, phase: 'closed' },
};

/** Holds the state of one process, and alone changes it. */
export class Lifecycle {
  readonly #table: Table;
  #state: LifeState = 'loading';
  /** Number of state changes: tells a state from the same state at a later time. */
  #changes = 0;

  constructor(table: Table = LIFECYCLE) {
    this.#table = table;
  }

  get standing(): Standing {
    return STANDING[this.#state];
  }

  get changes(): number {
    return this.#changes;
  }

  /**
   * Enters the next state and returns its transition.
   * @throws ERR_HANDOVER_INTERNAL a bug: the event is not legal in this state
   */
  step(event: LifeEvent): Transition {
    const transition = this.#table[this.#state][event];
    if (!transition)
      throw new HandoverError('ERR_HANDOVER_INTERNAL', `the event ${event} came while this process is ${this.#state}`, {
        stillServing: true,
      });
    if (transition.to !== this.#state) this.#changes += 1;
    this.#state = transition.to;
    return transition;
  }
}
